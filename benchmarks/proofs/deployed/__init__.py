"""One round against a real Kafka: the jobs as processes, what is published, read and killed."""
