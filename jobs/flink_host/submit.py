"""Handing a job to a cluster: Flink's own client does it, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from jobs.config import Settings
from jobs.flink_host.order import FlinkOrder
from jobs.load_pipeline import SHIPPED
from jobs.stack.flink import distribution
from streams.errors import ServiceError

SAID = "submitted "
LINES = 4


def submit(order: FlinkOrder, settings: Settings, address: str, client: Mapping[str, str]) -> str:
    """The id of the job that was made; the cluster may not have started it yet.

    `client` is the environment in which Flink's client speaks to the cluster. Raises ConfigError
    where pyflink is not installed, ServiceError with what the client said where it failed.
    """
    distribution()
    pipeline = settings.pipeline
    if pipeline not in SHIPPED:
        pipeline = str(Path(pipeline).absolute())
    environment = {
        **settings.environment(),
        **client,
        "HEADRACE_PIPELINE": pipeline,
        "HEADRACE_FLINK": msgspec.json.encode(order).decode(),
        # Else Flink's Python runs the job in its own process.
        "SUBMIT_ARGS": f"remote -m {urlsplit(address).netloc}",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), client.get("PATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, "-m", "jobs.flink_host.client"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    for line in done.stdout.splitlines():
        if line.startswith(SAID):
            return line.removeprefix(SAID)
    said = [each.strip() for each in done.stderr.splitlines() if each.strip()]
    causes = [each for each in said if "Caused by" in each or "Error" in each] or said
    raise ServiceError(f"{address}: the job was not submitted: " + " | ".join(causes[-LINES:]))
