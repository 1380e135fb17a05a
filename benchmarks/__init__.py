"""What was measured, and against whom."""
