"""A Flink cluster for tests: one for those that share it, on ports of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobs.flink_host.cluster import FlinkCluster, FlinkJob
from jobs.stack.flink import Flink, FlinkSettings
from jobs.stack.ports import free_port
from tests.deployment import Deployment, until
from tests.host_parity import buried

SUBMITTED_S = 180.0


def new_flink(folder: Path, *, high_availability: bool = False) -> Flink:
    """A cluster on free ports, not started."""
    settings = FlinkSettings(
        port=free_port(),
        rpc_port=free_port(),
        zookeeper_port=free_port(),
        high_availability=high_availability,
    )
    return Flink(folder, settings)


@pytest.fixture(scope="module")
def flink_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flink]:
    """A cluster that the tests of a module share; leave it up, and end your jobs."""
    cluster = new_flink(tmp_path_factory.mktemp("stack") / "flink")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()


class FlinkDeployment(Deployment):
    """A deployment whose jobs run on a Flink cluster."""

    def headrace(self, *command: str, flink: Flink) -> str:
        """What a command of `headrace flink` says."""
        done = self.ask(*command, flink=flink)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def ask(self, *command: str, flink: Flink) -> subprocess.CompletedProcess[str]:
        """How a command of `headrace flink` ended."""
        return self.command("flink", *command, flink=flink)

    def command(self, *command: str, flink: Flink) -> subprocess.CompletedProcess[str]:
        """How a command of `headrace` ended."""
        return subprocess.run(
            [sys.executable, "-m", "jobs.cli", *command],
            env={**self.environment, **folder_of(flink)},
            capture_output=True,
            text=True,
            check=False,
            timeout=SUBMITTED_S,
            cwd=Path(__file__).parents[1],
        )

    @contextmanager
    def on_flink(self, flink: Flink, *options: str, role: str = "score") -> Iterator[FlinkJob]:
        """The job, submitted and running; cancelled if it is still there after."""
        name = f"{self.prefix}{role}"
        self.headrace("submit", role, "--name", name, *options, flink=flink)
        cluster = FlinkCluster(flink.address)
        try:
            yield cluster.job(name)
        finally:
            if job := cluster.running(name):
                cluster.cancel(job.id)
                cluster.wait(job.id, ("CANCELED", "FAILED", "FINISHED"), 60)

    def feed(self, slices: Iterator[list[bytes]], flink: Flink) -> None:
        """Publish the next slice, and return when half of what it brings is predicted."""
        there, events = len(self.predicted()), next(slices)
        self.send("transactions", events)
        self.wait_on_flink(there + len(events) // 2, flink)

    def wait_on_flink(self, count: int, flink: Flink) -> list[str]:
        """The ids that have a prediction, once there are so many."""

        until(lambda: len(self.predicted()) >= count, f"{count} predictions", log_of(flink))
        return self.predicted()

    def letters_on_flink(self, count: int, flink: Flink) -> list[Any]:
        """The dead letters, once there are so many: they have a sink of their own on Flink."""
        until(lambda: len(buried(self)) >= count, f"{count} dead letters", log_of(flink))
        return buried(self)


def log_of(flink: Flink) -> Callable[[], str]:
    """What says what its processes said last."""
    logs = [each.log for each in flink.processes]
    return lambda: "\n".join(each.read_text(errors="replace")[-5000:] for each in logs)


def folder_of(flink: Flink) -> Mapping[str, str]:
    """The environment in which commands find the cluster."""
    return {**os.environ, "HEADRACE_STACK_FOLDER": str(flink.folder.parent)}
