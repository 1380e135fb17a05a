"""Real local services without Docker: Kafka, Valkey and Flink from wheels and locked jars.

A service is a folder, its settings and a server process bound to 127.0.0.1. `headrace up` starts
them, and tests start what they need with the same classes.
"""
