"""Customer windows from topic to topic, made by others in the way that their users would.

Every event gets a record `{"id":…,"count_1d":…,"mean_1d":…}` with count and mean amount of its
customer over the last 1, 7 and 30 days. Each file is run by the Python of an environment of its
own, so at its top it imports the standard library only, and has the same two names: `PACKAGES`,
what that environment holds, and `run(job)`, which never returns.
"""
