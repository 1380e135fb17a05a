"""The score job on a real Flink cluster says what the embedded host says."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.flink.checkpoints import checkpoint
from benchmarks.flink.network import between
from jobs import fraud
from jobs.flink_host.cluster import FlinkCluster, FlinkJob
from jobs.kafka_host.model_feed import MANIFEST
from jobs.load_pipeline import load_pipeline
from jobs.stack.flink import Flink
from jobs.stack.kafka import Kafka
from jobs.stack.security import Security as Users
from streams.kafka import Security
from tests.deployment import Deployment, until
from tests.flink_cluster import FlinkDeployment, flink_cluster, log_of, new_flink
from tests.host_parity import (
    END,
    EVENTS,
    accounted,
    buried,
    cut,
    every_score_is_its_versions,
    headed,
    said,
    stream,
    traces,
)
from tests.kafka_server import new_kafka
from tests.published import decided

pytestmark = pytest.mark.skipif(find_spec("pyflink") is None, reason="wants the extra flink")
__all__ = ["flink_cluster"]

STAGES = [
    tuple(map(int, stage.split(":")))
    for stage in os.environ.get("HEADRACE_FLINK_STAGES", "2:1,1:0").split(",")
]
"""Stage by stage: how many tasks the job has, and how often its TaskManager is killed."""
JOB_MANAGERS = int(os.environ.get("HEADRACE_FLINK_JOB_MANAGERS", "1"))
"""How often the JobManager is killed."""
BEFORE = """
from dataclasses import replace
from jobs.fraud import customer, pipeline, terminal
pipeline = replace(pipeline, challengers={})
"""
CHANGED = f"""{BEFORE}
kept = {{name: each for name, each in pipeline.features.items() if name != "customer_mean_1d"}}
new = {{"spread": customer.std("amount", "45d"), "recent": terminal.positives("20d", delay="2d")}}
pipeline = replace(pipeline, features=kept | new)
"""


@pytest.fixture(scope="module")
def stayed(kafka_broker: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """What the embedded host made of stream 3, in strict order and one go."""
    events, labels = stream(3)
    there = Deployment(kafka_broker, tmp_path_factory.mktemp("embedded"), order="strict")
    there.send("labels", labels)
    there.send("transactions", events)
    there.run_to_end(len(events), EVENTS + END - 1)
    return there


def test_killed_rescaled_changed_and_moved_by_savepoints_a_job_loses_and_doubles_nothing(
    kafka_broker: Kafka, flink_cluster: Flink, tmp_path: Path
) -> None:
    events, labels = stream(3)
    count = EVENTS + END - 1
    file = tmp_path / "pipeline.py"
    oracles: dict[int, dict[str, Any]] = {}
    letters: list[Any] = []
    for text in (BEFORE, CHANGED):
        file.write_text(text)
        folder = tmp_path / f"embedded-{len(oracles)}"
        folder.mkdir()
        there = Deployment(kafka_broker, folder, order="strict", pipeline=file)
        there.send("labels", labels)
        there.send("transactions", events)
        there.run_to_end(len(events), count)
        oracles[len(load_pipeline(str(file)).features)] = said(there)
        letters = buried(there)
    file.write_text(BEFORE)
    here = FlinkDeployment(
        kafka_broker,
        tmp_path / "flink",
        order="strict",
        delivery="exactly-once",
        commit_ms=200,
        pipeline=file,
    )
    here.folder.mkdir()
    here.send("labels", labels)
    slices = cut(events, sum(1 + kills for _, kills in STAGES))
    savepoint: list[str] = []
    for stage, (tasks, kills) in enumerate(STAGES):
        given = ["--savepoint", savepoint[-1]] if savepoint else []
        if stage + 1 == len(STAGES):
            file.write_text(CHANGED)
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
            found = said(here)
            of_each = Counter(len(each["features"]) for each in found.values())
            assert min(of_each[width] for width in oracles) > END
            assert found == {
                key: oracles[len(each["features"])][key] for key, each in found.items()
            }
            assert here.letters_on_flink(len(letters), flink_cluster) == letters != []


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
    there.run_to_end(len(events), EVENTS + END)
    letters = buried(there)
    cluster = new_flink(tmp_path / "flink", high_availability=True)
    slices = cut(events, 1 + JOB_MANAGERS)
    try:
        cluster.start()
        with here.on_flink(cluster, "--changelog"):
            here.feed(slices, cluster)
            for _ in range(JOB_MANAGERS):
                cluster.processes[-1].kill()
                cluster.start()
                here.feed(slices, cluster)
            here.wait_on_flink(EVENTS + END, cluster)
            assert said(here) == said(there)
            assert here.letters_on_flink(len(letters), cluster) == letters != []
    finally:
        cluster.kill()


EVERY_HUNDRED = """
from dataclasses import replace

from benchmarks.proofs.watched import pipeline as fraud

pipeline = replace(fraud, every=100)
"""


def contents(deployment: Deployment) -> dict[str, str]:
    """What was published under each number, never two things under one."""
    found: dict[str, str] = {}
    for run in deployment.runs("models"):
        for key, value in zip(run.keys, run.values, strict=True):
            number, _, part = (key or b"").decode().partition("/")
            if part == MANIFEST and value:
                content = orjson.loads(value)["content"]
                assert found.setdefault(number, content) == content
    return found


def outcomes_of(deployment: Deployment) -> int:
    """How many were told."""
    return sum(len(each["numbers"]) for each in deployment.read("outcomes"))


def metric(flink: Flink, job: FlinkJob, name: str) -> int | None:
    """What the learner says of itself by this metric; Flink asks it every ten seconds."""
    cluster = FlinkCluster(flink.address)
    for vertex in cluster.ask(f"/jobs/{job.id}")["vertices"]:
        path = f"/jobs/{job.id}/vertices/{vertex['id']}/metrics"
        for each in cluster.ask(path):
            if each["id"].endswith(f".headrace.{name}"):
                return int(cluster.ask(f"{path}?get={each['id']}")[0]["value"])
    return None


def test_what_is_learnt_on_flink_is_what_is_learnt_beside_it_and_what_is_decided_scores(
    kafka_broker: Kafka, flink_cluster: Flink, tmp_path: Path
) -> None:
    file = tmp_path / "hundred.py"
    file.write_text(EVERY_HUNDRED)
    pipeline = replace(fraud.pipeline, every=100)
    events, labels = stream(5)
    here = FlinkDeployment(
        kafka_broker, tmp_path / "flink", pipeline=file, order="strict", delivery="exactly-once",
        commit_ms=200,
    )  # fmt: skip
    here.folder.mkdir()
    here.send("labels", labels)
    slices, last = cut(events, 12), log_of(flink_cluster)

    def decide(*command: str) -> None:
        done = here.command("models", *command, flink=flink_cluster)
        assert done.returncode == 0, done.stderr

    def feed_until(wanted: Callable[[int], bool]) -> int:
        """The version that scores by then."""
        while not wanted(latest := here.read("predictions")[-1]["model_version"]):
            here.feed(slices, flink_cluster)
        return int(latest)

    with here.on_flink(flink_cluster, "--parallelism", "2"):
        with here.on_flink(flink_cluster, role="learn") as learn:
            for _ in range(3):
                here.feed(slices, flink_cluster)
            until(lambda: bool(here.runs("models")), "a version", last)
            flink_cluster.processes[0].kill()
            count = len(here.read("examples"))
            flink_cluster.start()
            here.feed(slices, flink_cluster)
            with here.running("learn", name="second") as second:
                assert second.ended() == 1
                assert "wanted it alone" in second.log()
            until(lambda: len(here.read("examples")) > count, "learning to go on", last)
            decide("promote", "published inputs")
            feed_until(lambda version: version % 2 == 1)
            savepoint = here.headrace("stop", learn.name, flink=flink_cluster)
        with here.on_flink(flink_cluster, "--savepoint", savepoint, role="learn") as learn:
            decide("rollback")
            held = feed_until(lambda version: version % 2 == 0)
            decide("promote", "champion")
            feed_until(lambda version: version > held)
            for rest in slices:
                here.send("transactions", rest)
            here.wait_on_flink(EVENTS + END - 1, flink_cluster)
            until(
                lambda: len(here.read("examples")) == outcomes_of(here) >= EVENTS, "examples", last
            )
            told = outcomes_of(here)
            newest = 2 * (told // 100)
            until(lambda: metric(flink_cluster, learn, "version") == newest, "the last one", last)
    there = Deployment(kafka_broker, tmp_path / "there", pipeline=file)
    there.folder.mkdir()
    for topic in ("predictions", "outcomes"):
        for run in here.runs(topic):
            there.send(topic, [value or b"" for value in run.values], [k or b"" for k in run.keys])
    with there.running("learn", name="learn") as beside:
        until(lambda: len(there.read("examples")) == told, f"{told} examples", beside.log)
        assert beside.stop() == 0
    assert here.read("examples") == there.read("examples")
    alarms = there.read("drift")
    assert len(alarms) > 100
    until(lambda: len(here.read("drift")) >= len(alarms), "as many alarms", last)
    assert here.read("drift") == alarms
    mine, its = contents(here), contents(there)
    assert max(n for n in map(int, mine) if n % 2 == 0) == newest
    assert max(n for n in map(int, its) if n % 2 == 0) == newest
    assert {each: mine[each] for each in mine.keys() & its} == {
        each: its[each] for each in mine.keys() & its
    }
    log = decided(here)
    assert [each.action for each in log] == ["promote", "rollback", "promote"]
    assert held == log[0].before == log[1].sequence
    every_score_is_its_versions(here, pipeline)


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
    two = here.ask("submit", "learn", "--parallelism", "2", flink=flink_cluster)
    assert two.returncode == 1
    assert "wanted 1, since one learns" in two.stderr


def test_what_a_job_keeps_and_sends_is_counted(
    kafka_broker: Kafka, flink_cluster: Flink, tmp_path: Path
) -> None:
    here, cluster = FlinkDeployment(kafka_broker, tmp_path), FlinkCluster(flink_cluster.address)
    keeping = {"read", "index", "windows-customer", "windows-terminal"}
    with here.on_flink(flink_cluster, "--parallelism", "2") as job:
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


def test_a_stream_that_moves_to_flink_and_back_is_scored_as_if_it_had_stayed(
    kafka_broker: Kafka, flink_cluster: Flink, stayed: Deployment, tmp_path: Path
) -> None:
    events, labels = stream(3)
    here = FlinkDeployment(kafka_broker, tmp_path, order="strict")

    def state(*command: str) -> None:
        done = here.command("state", *command, flink=flink_cluster)
        assert done.returncode == 0, done.stderr

    count, slices = EVENTS + END - 1, cut(events, 3)
    moving, back, again = (str(tmp_path / name) for name in ("moving", "back", "again"))
    here.send("labels", labels)
    here.send("transactions", next(slices))
    with here.running() as job:
        here.wait_for(EVENTS // 4, job)
        assert job.stop() == 0
    state("export", "--out", moving)
    options = "--parallelism", "2", "--lanes", "4", "--from", moving
    with here.on_flink(flink_cluster, *options) as on_flink:
        here.feed(slices, flink_cluster)
        state("export", "--job", on_flink.name, "--out", back)
    state("import", back, "--state", again)
    here.send("transactions", next(slices))
    with here.running(state=again) as job:
        here.wait_for(count, job)
        here.wait_until_committed(len(events), job)
    assert said(here) == said(stayed)
    assert buried(here) == buried(stayed)
    assert accounted(here) == accounted(stayed)


def test_in_arrival_order_flink_says_what_the_embedded_host_says_headers_too(
    kafka_broker: Kafka, flink_cluster: Flink, tmp_path: Path
) -> None:
    events, labels = stream(2, "arrival")
    there = Deployment(kafka_broker, tmp_path / "embedded")
    here = FlinkDeployment(kafka_broker, tmp_path / "flink", delivery="exactly-once", commit_ms=200)
    for each in (there, here):
        each.folder.mkdir()
        each.send("labels", labels)
    there.send("transactions", events, headers=traces(events))
    there.run_to_end(len(events), EVENTS + END)
    letters, parts = buried(there), cut(list(zip(events, traces(events), strict=True)), 4)

    def feed(count: int) -> None:
        values, headers = zip(*next(parts), strict=True)
        here.send("transactions", values, headers=headers)
        here.wait_on_flink(count, flink_cluster)

    def kill() -> None:
        flink_cluster.processes[0].kill()
        flink_cluster.start()

    # State is written when a turn of a reader ends; one task does all in one thread.
    with here.on_flink(flink_cluster) as job:
        feed(EVENTS // 6)
        told = FlinkCluster(flink_cluster.address).ask(f"/jobs/{job.id}")["vertices"]
        ours = [name for each in told if (name := each["name"]).startswith(("read", "index", "w"))]
        assert len(ours) == 1
        kill()
        feed(EVENTS // 3)
        savepoint = here.headrace("stop", job.name, flink=flink_cluster)
    with here.on_flink(flink_cluster, "--parallelism", "2", "--savepoint", savepoint):
        feed(EVENTS // 2)
        kill()
        feed(EVENTS + END)
        assert said(here) == said(there)
        assert here.letters_on_flink(len(letters), flink_cluster) == letters != []
        assert headed(here) == headed(there) != {}
