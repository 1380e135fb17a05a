"""State that travels: out of one engine and into another, in a form that is neither's own."""
