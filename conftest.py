"""Doctests that cannot be collected: of modules that import an extra which is not installed."""

from importlib.util import find_spec

INSIDE = ("client", "function", "functions", "headed", "learning", "records", "states", "travel")
FLINK = ["jobs/flink_job.py", *(f"jobs/flink_host/{name}.py" for name in INSIDE)]
collect_ignore = [] if find_spec("pyflink") else FLINK
