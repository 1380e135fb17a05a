"""What users of a deployment do with its topics: make, publish, subscribe, repair, count."""
