"""What jobs and runs say of themselves, to look at in a terminal."""
