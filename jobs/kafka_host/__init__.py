"""The two jobs on Kafka: they score and learn from topics, and own a folder and a group each."""
