"""Doctests that cannot be collected: of modules that import an extra which is not installed."""

from importlib.util import find_spec

FLINK = ["jobs/flink_job.py", "jobs/flink_host/functions.py", "jobs/flink_host/client.py"]
collect_ignore = [] if find_spec("pyflink") else FLINK
