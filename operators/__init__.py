"""What happens, without an engine."""
