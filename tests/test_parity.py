"""One stream of 50,000 payments through every host: each says the same of it, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from jobs.load_pipeline import load_pipeline
from jobs.stack.flink import Flink
from jobs.stack.kafka import Kafka
from tests.deployment import Deployment, until
from tests.flink_cluster import FlinkDeployment, flink_cluster, log_of
from tests.host_parity import (
    END,
    accounted,
    buried,
    cut,
    every_score_is_its_versions,
    replayed,
    said,
    stream,
    watched,
)

pytestmark = [
    pytest.mark.skipif(find_spec("pyflink") is None, reason="wants the extra flink"),
    pytest.mark.skipif(find_spec("rocksdict") is None, reason="wants the extra faust"),
]
__all__ = ["flink_cluster"]

COUNT = 50_000
PIPELINE = """
from dataclasses import replace
from benchmarks.history import history
from benchmarks.proofs.watched import pipeline
features = pipeline.features | history
pipeline = replace(pipeline, challengers={}, every=1_000, features=features)
"""
Log = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Hosts:
    """What there is to run a job on, and a folder for the state of each."""

    kafka: Kafka
    flink: Flink
    folder: Path
    events: list[bytes]
    labels: list[bytes]

    def deployed(self, name: str) -> FlinkDeployment:
        """A deployment of its own, with the labels published."""
        folder = self.folder / name
        folder.mkdir()
        file = folder / "pipeline.py"
        file.write_text(PIPELINE)
        made = FlinkDeployment(self.kafka, folder, order="strict", pipeline=file)
        made.send("labels", self.labels)
        return made

    @contextmanager
    def embedded(self, here: FlinkDeployment) -> Iterator[Log]:
        """`headrace run`."""
        with here.running() as job:
            yield job.log
            here.wait_until_committed(len(self.events), job)

    @contextmanager
    def faust(self, here: FlinkDeployment) -> Iterator[Log]:
        """One `headrace faust worker`."""
        with here.running("faust", "worker", name="worker") as job:
            yield job.log
            assert job.stop() == 0

    @contextmanager
    def on_flink(self, here: FlinkDeployment, parallelism: int) -> Iterator[Log]:
        """`headrace flink submit`."""
        with here.on_flink(self.flink, "--parallelism", str(parallelism)) as job:
            yield log_of(self.flink)
            here.headrace("stop", job.name, flink=self.flink)


def test_every_host_says_the_same_of_the_same_stream_to_the_bit(
    kafka_broker: Kafka, flink_cluster: Flink, tmp_path: Path
) -> None:
    hosts = Hosts(kafka_broker, flink_cluster, tmp_path, *stream(6, count=COUNT))
    kinds: dict[str, Callable[[FlinkDeployment], AbstractContextManager[Log]]] = {
        "embedded": hosts.embedded,
        "one task": partial(hosts.on_flink, parallelism=1),
        "two tasks": partial(hosts.on_flink, parallelism=2),
        "faust": hosts.faust,
    }
    found = {}
    for name, host in kinds.items():
        here = hosts.deployed(name)
        here.send("transactions", hosts.events)
        with host(here) as log:
            reach(here, "predictions", COUNT + END - 1, log)
        found[name] = said(here), buried(here), accounted(here), watched(here)
    predictions, letters, ledger, _ = found["embedded"]
    file = tmp_path / "embedded" / "pipeline.py"
    alarms = replayed(hosts.events, hosts.labels, file, tmp_path)
    assert letters
    assert len(alarms) > 100
    for each in found.values():
        assert each == (predictions, letters, ledger, alarms)
    features = {key: each["features"] for key, each in predictions.items()}
    for name, host in kinds.items():
        here = hosts.deployed(f"{name}, learning")
        with here.running("learn", name="learn") as learn, host(here) as log:
            for some in cut(hosts.events, 4):
                there, versions = here.amount("predictions"), here.amount("models")
                here.send("transactions", some)
                reach(here, "predictions", there + len(some) // 2, log)
                reach(here, "models", versions + 1, learn.log)
            reach(here, "predictions", COUNT + END - 1, log)
        assert {key: each["features"] for key, each in said(here).items()} == features
        every_score_is_its_versions(here, load_pipeline(str(here.folder / "pipeline.py")))


def reach(here: Deployment, topic: str, count: int, log: Log) -> None:
    """Return once the topic has so many records."""
    until(lambda: here.amount(topic) >= count, f"{count} in {topic}", log)
