"""The score job on a real Flink cluster says what the embedded host says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import orjson
import pytest

from benchmarks.flink.checkpoints import checkpoint
from benchmarks.flink.network import between
from jobs import fraud
from jobs.flink_host.cluster import FlinkCluster
from jobs.kafka_host.model_feed import ModelFeed
from jobs.stack.flink import Flink
from jobs.stack.kafka import Kafka
from jobs.stack.security import Security as Users
from models.manifest import Seal
from models.registry import Registry
from streams.broker import Input
from streams.kafka import Security
from tests.deployment import Deployment, until
from tests.flink_cluster import FlinkDeployment, flink_cluster, new_flink
from tests.kafka_server import new_kafka

pytestmark = pytest.mark.skipif(find_spec("pyflink") is None, reason="wants the extra flink")
__all__ = ["flink_cluster"]

NOON = 1_704_110_400_000_000
MINUTE = 60_000_000
DAY = 1440 * MINUTE
EVENTS = 3000
STAGES = [
    tuple(map(int, stage.split(":")))
    for stage in os.environ.get("HEADRACE_FLINK_STAGES", "2:1,1:0").split(",")
]
"""Stage by stage: how many tasks the job has, and how often its TaskManager is killed."""
JOB_MANAGERS = int(os.environ.get("HEADRACE_FLINK_JOB_MANAGERS", "1"))
"""How often the JobManager is killed."""
END = 2
"""Events that come long after all others, so that nothing waits any more."""


def stream(seed: int, order: str = "strict") -> tuple[list[bytes], list[bytes]]:
    """Transactions and labels: out of order, twice, conflicting, garbage; labels days late.

    In arrival order the labels, which are published first, would bring time so far forward that ids
    are forgotten at once: there are only early ones then.
    """
    until = NOON + (13 if order == "arrival" else 100) * DAY
    rng = Random(seed)
    events, labels = [], []
    for n in range(EVENTS):
        time = NOON + n * 20 * MINUTE
        event = {
            "id": f"t{n}",
            "time": time,
            "customer": f"c{rng.randrange(60)}",
            "terminal": f"s{rng.randrange(25)}",
            "amount": rng.randrange(1, 30_000) / 100,
        }
        events.append((time + rng.randrange(50 * MINUTE), orjson.dumps(event)))
        if rng.random() < 0.02:
            events.append((time + rng.randrange(50 * MINUTE), orjson.dumps(event)))
        if rng.random() < 0.01:
            other = event | {"amount": 1.0, "time": time + 1}
            events.append((time + rng.randrange(50 * MINUTE), orjson.dumps(other)))
        if rng.random() < 0.01:
            garbage = rng.choice([b"{", b"[]", b'{"id":"x"}', b"\xff", b"null"])
            events.append((time, garbage))
        if rng.random() < 0.2:
            known = time + rng.randrange(-DAY // 4, 9 * DAY)
            label = {"id": f"t{n}", "time": known, "fraud": rng.random() < 0.5}
            if known < until:
                labels.append((known, orjson.dumps(label)))
    last = NOON + EVENTS * 20 * MINUTE + 30 * DAY
    events.sort(key=lambda each: each[0])
    labels.sort(key=lambda each: each[0])
    for n in range(END):
        event = {"id": f"e{n}", "time": last + n * DAY, "customer": "e", "terminal": "e"}
        events.append((last, orjson.dumps(event | {"amount": 1})))
    return [value for _, value in events], [value for _, value in labels]


def cut(events: list[bytes], count: int) -> Iterator[list[bytes]]:
    """The events in so many slices."""
    size = -(-len(events) // count)
    return (events[at : at + size] for at in range(0, len(events), size))


def said(deployment: Deployment) -> dict[str, Any]:
    """What was predicted of each id, without its number."""
    found = {}
    for each in deployment.read("predictions"):
        each.pop("number")
        assert each["id"] not in found
        found[each["id"]] = each
    return found


def buried(deployment: Deployment) -> list[Any]:
    """The dead letters, without what no two runs have in common."""
    names = ("reason", "detail", "partition", "offset", "raw")
    letters = deployment.read("dead-letters")
    return sorted(str([each.get(name) for name in names]) for each in letters)


def test_killed_rescaled_and_moved_by_savepoints_a_job_loses_and_doubles_nothing(
    kafka_broker: Kafka, flink_cluster: Flink, tmp_path: Path
) -> None:
    events, labels = stream(3)
    there = Deployment(kafka_broker, tmp_path / "embedded", order="strict")
    here = FlinkDeployment(
        kafka_broker, tmp_path / "flink", order="strict", delivery="exactly-once", commit_ms=200
    )
    for each in (there, here):
        each.folder.mkdir()
        each.send("labels", labels)
    there.send("transactions", events)
    count = EVENTS + END - 1
    with there.running() as job:
        there.wait_for(count, job)
    slices = cut(events, sum(1 + kills for _, kills in STAGES))
    savepoint: list[str] = []
    for stage, (tasks, kills) in enumerate(STAGES):
        given = ["--savepoint", savepoint[-1]] if savepoint else []
        with here.on_flink(flink_cluster, "--parallelism", str(tasks), *given) as job:
            here.feed(slices, flink_cluster)
            for _ in range(kills):
                flink_cluster.processes[0].kill()
                flink_cluster.start()
                here.feed(slices, flink_cluster)
            if stage + 1 < len(STAGES):
                savepoint.append(here.headrace("stop", job.name, flink=flink_cluster))
                continue
            here.wait_on_flink(count, flink_cluster)
            assert said(here) == said(there)
            assert buried(here) == buried(there)


def test_with_high_availability_a_job_outlives_its_jobmanager(
    kafka_broker: Kafka, tmp_path: Path
) -> None:
    events, labels = stream(4, "arrival")
    there = Deployment(kafka_broker, tmp_path / "embedded")
    here = FlinkDeployment(kafka_broker, tmp_path / "here", delivery="exactly-once", commit_ms=200)
    for each in (there, here):
        each.folder.mkdir()
        each.send("labels", labels)
    there.send("transactions", events)
    with there.running() as job:
        there.wait_for(EVENTS + END, job)
    cluster = new_flink(tmp_path / "flink", high_availability=True)
    slices = cut(events, 1 + JOB_MANAGERS)
    try:
        cluster.start()
        with here.on_flink(cluster):
            here.feed(slices, cluster)
            for _ in range(JOB_MANAGERS):
                cluster.processes[-1].kill()
                cluster.start()
                here.feed(slices, cluster)
            here.wait_on_flink(EVENTS + END, cluster)
            assert said(here) == said(there)
            assert buried(here) == buried(there)
    finally:
        cluster.kill()


def test_versions_of_the_learn_job_score_on_flink_and_every_score_is_its_versions(
    kafka_broker: Kafka, flink_cluster: Flink, tmp_path: Path
) -> None:
    events, labels = stream(5)
    here = FlinkDeployment(kafka_broker, tmp_path)
    half = len(events) // 2
    here.send("labels", labels)
    here.send("transactions", events[:half])
    with here.running("learn", name="learn") as learn:
        with here.on_flink(flink_cluster, "--parallelism", "2"):
            until(lambda: bool(here.runs("models")), "a version", learn.log)
            here.send("transactions", events[half:])
            here.wait_on_flink(EVENTS + END, flink_cluster)
        assert learn.stop() == 0
    names = fraud.pipeline.plan().names
    registry = Registry(tmp_path / "models", None)
    models = here.client.consumer([Input(here.prefix + "models", 0)])
    feed = ModelFeed(models, registry, Seal(None), fraud.pipeline.definition, names)
    while feed.poll(1.0):
        pass
    feed.close()
    prior = fraud.pipeline.champion.bind(names).version()
    said = here.read("predictions")
    seen = {each["model_version"] for each in said}
    assert max(seen) > 0
    for sequence in seen:
        mine = [each for each in said if each["model_version"] == sequence]
        version = registry.load(sequence) if sequence else prior
        x = np.array([each["features"] for each in mine], np.float64)
        assert version.predict_many(x).tolist() == [each["score"] for each in mine]


def test_it_speaks_tls_and_logs_in_where_the_broker_wants_it(
    flink_cluster: Flink, tmp_path: Path
) -> None:
    broker = new_kafka(tmp_path / "kafka", Users({"anna": "correct-horse"}))
    try:
        broker.start()
        login = {"kafka_ca": broker.certificate.ca, "kafka_user": "anna"}
        security = Security(ca=broker.certificate.ca, user="anna", password="correct-horse")
        here = FlinkDeployment(broker, tmp_path, security, kafka_password="correct-horse", **login)
        with here.on_flink(flink_cluster):
            here.pay(0, 10)
            assert len(here.wait_on_flink(10, flink_cluster)) == 10
    finally:
        broker.kill()


def test_a_job_that_cannot_begin_is_not_submitted_and_says_why(
    kafka_broker: Kafka, flink_cluster: Flink, tmp_path: Path
) -> None:
    here = FlinkDeployment(kafka_broker, tmp_path)
    here.environment |= {"HEADRACE_PREFIX": "nobody-made-these."}
    done = here.ask("submit", "--name", "lost", flink=flink_cluster)
    assert done.returncode == 1
    assert "nobody-made-these." in done.stderr
    assert done.stderr.count("\n") == 1
    assert FlinkCluster(flink_cluster.address).running("lost") is None


def test_what_a_job_keeps_and_sends_is_counted(
    kafka_broker: Kafka, flink_cluster: Flink, tmp_path: Path
) -> None:
    here, cluster = FlinkDeployment(kafka_broker, tmp_path), FlinkCluster(flink_cluster.address)
    keeping = {"read", "index", "windows-customer", "windows-terminal"}
    with here.on_flink(flink_cluster) as job:
        here.pay(0, 200)
        here.wait_on_flink(200, flink_cluster)
        whole = checkpoint(cluster, job.id, "FULL")
        assert keeping <= whole.operators.keys()
        assert sum(whole.operators.values()) == whole.whole == whole.bytes
        assert Path(whole.place.removeprefix("file:")).is_dir()
        cluster.cancel(job.id)
        cluster.wait(job.id, ("CANCELED",), 60)
        sent = between(cluster, job.id)
        assert min(sent[name] for name in ("read", "index", "windows-customer")) > 200 * 100


def accounted(deployment: Deployment) -> str:
    """What `headrace ledger` finds in the topics."""
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", "ledger"],
        env=deployment.environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    return done.stdout


@pytest.mark.parametrize(("order", "parallelism"), [("strict", 1), ("strict", 2), ("arrival", 2)])
def test_flink_says_what_the_embedded_host_says_to_the_bit(
    kafka_broker: Kafka, flink_cluster: Flink, tmp_path: Path, order: str, parallelism: int
) -> None:
    events, labels = stream(parallelism, order)
    there = Deployment(kafka_broker, tmp_path / "embedded", order=order)
    here = FlinkDeployment(kafka_broker, tmp_path / "flink", order=order)
    for each in (there, here):
        each.folder.mkdir()
        each.send("labels", labels)
        each.send("transactions", events)
    count = EVENTS + END - (order == "strict")
    with there.running() as job:
        there.wait_for(count, job)
        there.wait_until_committed(len(events), job)
    with here.on_flink(flink_cluster, "--parallelism", f"{parallelism}"):
        here.wait_on_flink(count, flink_cluster)
        assert said(here) == said(there)
        assert buried(here) == buried(there)
        if order == "strict":
            assert accounted(here) == accounted(there)
