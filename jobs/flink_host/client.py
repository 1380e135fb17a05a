"""What the process does that hands a job to a cluster; see `jobs.flink_host.submit`."""

from __future__ import annotations

import sys

from jobs.cli import claim_packages

if __name__ == "__main__":
    claim_packages()
    from jobs.flink_host.submit import SAID
    from jobs.flink_job import main

    sys.stdout.write(f"{SAID}{main()}\n")
