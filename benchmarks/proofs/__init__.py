"""The long proofs, one a file; `benchmarks.prove` runs them."""
