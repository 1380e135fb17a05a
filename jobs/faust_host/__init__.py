"""The Faust host: the operators of a lane, what they keep in a table, and what they send."""
