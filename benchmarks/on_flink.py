"""The score job on a Flink cluster of its own, as something to be measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from jobs.config import Settings
from jobs.flink_host.cluster import FlinkCluster
from jobs.flink_host.order import FlinkOrder
from jobs.flink_host.submit import submit
from jobs.load.generator import Target
from jobs.stack.flink import Flink, FlinkSettings
from jobs.stack.ports import free_port
from streams.topics import PREDICTIONS, TRANSACTIONS

START_S = 120.0


@contextmanager
def own_flink(
    folder: Path,
    settings: Settings,
    processes: Mapping[str, int],
    name: str = "headrace on Flink",
    order: FlinkOrder | None = None,
) -> Iterator[Target]:
    """A cluster in the folder with one job, running; both end with the context."""
    cluster = Flink(folder / "flink", FlinkSettings(port=free_port(), rpc_port=free_port()))
    cluster.start()
    try:
        job = submit(order or FlinkOrder(), settings, cluster.address, cluster.client())
        FlinkCluster(cluster.address).wait(job, ("RUNNING",), START_S)
        pids = {process.name: process.pid or 0 for process in cluster.processes}
        yield Target(
            name=name,
            events=settings.topic(TRANSACTIONS),
            predictions=settings.topic(PREDICTIONS),
            processes={**processes, **pids},
        )
    finally:
        cluster.kill()
