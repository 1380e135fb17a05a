"""The score job on a Flink cluster of its own, as something to be measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from jobs.config import Settings
from jobs.flink_host.cluster import ENDED, FlinkCluster
from jobs.flink_host.order import FlinkOrder
from jobs.flink_host.submit import submit
from jobs.load.generator import Target
from jobs.stack.flink import Flink, FlinkSettings
from jobs.stack.ports import free_port
from streams.topics import PREDICTIONS, TRANSACTIONS

START_S = 120.0


class Stand(NamedTuple):
    """A broker, its processes by name, and a folder for what is started beside it."""

    settings: Settings
    folder: Path
    processes: Mapping[str, int]

    def apart(self, slug: str, pipeline: str = "fraud") -> Settings:
        """The settings for topics and a folder that no other job has."""
        slug = slug.replace(",", "").replace(" ", "-")
        (self.folder / slug).mkdir()
        state = self.folder / slug
        return replace(self.settings, prefix=f"{slug}.", state=state, pipeline=pipeline)


class OnFlink(NamedTuple):
    """A cluster, a job on it, and what the job reads and writes."""

    flink: Flink
    cluster: FlinkCluster
    job: str
    target: Target

    def end(self) -> None:
        """Cancel the job; what Flink counted of it is exact from then on."""
        self.cluster.cancel(self.job)
        self.cluster.wait(self.job, ENDED, START_S)


@contextmanager
def own_flink(folder: Path) -> Iterator[Flink]:
    """A cluster in the folder, which ends with the context."""
    flink = Flink(folder / "flink", FlinkSettings(port=free_port(), rpc_port=free_port()))
    flink.start()
    try:
        yield flink
    finally:
        flink.kill()


def started(
    flink: Flink,
    settings: Settings,
    processes: Mapping[str, int],
    name: str,
    order: FlinkOrder | None = None,
) -> OnFlink:
    """A job on the cluster, every task of it at work."""
    order, cluster = order or FlinkOrder(), FlinkCluster(flink.address)
    job = submit(order, settings, flink.address, flink.client())
    cluster.started(job, START_S)
    pids = {process.name: process.pid or 0 for process in flink.processes}
    target = Target(
        name=name,
        events=settings.topic(TRANSACTIONS),
        predictions=settings.topic(PREDICTIONS),
        processes={**processes, **pids},
    )
    return OnFlink(flink, cluster, job, target)
