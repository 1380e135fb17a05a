"""One seeded schedule: the score job, the learn job and a broker in memory, and what goes wrong."""
