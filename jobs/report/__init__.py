"""What a run looks like: charts in a page, and in a terminal."""
