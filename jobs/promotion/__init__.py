"""Which versions of a pipeline's models there are, and deciding which of them scores."""
