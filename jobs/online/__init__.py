"""The latest features and score of each key, kept in Redis or Valkey for other programs."""
