"""Who drives it."""
