"""The operators spread over lanes, for engines that keep state by key and may move it.

A lane is a share of all keys, told by their hash. There are as many lanes as a job may ever have
parallel tasks; a task owns some of them, and when the job is rescaled lanes move with their state.
What an operator knows of a lane it keeps in a `Store`, a map of bytes that the engine makes
durable; what it has in memory beside that is a copy it can lose.

Nothing here knows an engine: Flink and Faust bring rows and stores, and take what comes out.
"""
