"""The Flink host: operators in keyed process functions, and what submits them."""
