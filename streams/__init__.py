"""What flows, and how it enters and leaves."""
