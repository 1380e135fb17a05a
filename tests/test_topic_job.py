"""What the score job and the learn job have in common: beginning, turns, snapshots, letting go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

import orjson
import pytest

from jobs import lessons
from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.kafka_host import learn_job, model_feed, publishing, score_job
from jobs.kafka_host.learn_job import LearnJob
from jobs.kafka_host.model_feed import MANIFEST
from jobs.kafka_host.score_job import ScoreJob
from streams.broker import Input
from streams.errors import HeadraceError, OutputError, StateError
from streams.journal import Entry, Journal
from streams.memory import Clock, Cluster, MemoryBroker
from streams.memory.log import Log
from streams.schema import DAY
from streams.topics import DEAD_LETTERS, LABELS, MODELS, OUTCOMES, PREDICTIONS, TRANSACTIONS
from tests.batches import HOUR, PIPELINE

NOON = 1_704_110_400_000_000
Job: TypeAlias = ScoreJob | LearnJob
Make: TypeAlias = Callable[..., Job]


def score(cluster: Cluster, settings: Settings, pipeline: Pipeline = PIPELINE) -> ScoreJob:
    return ScoreJob(
        pipeline,
        MemoryBroker(cluster),
        settings,
        clock=lambda: cluster.clock() / 1e6,
        now_us=cluster.clock,
        threads=False,
    )


def learn(cluster: Cluster, settings: Settings, pipeline: Pipeline = PIPELINE) -> LearnJob:
    return LearnJob(pipeline, MemoryBroker(cluster), settings, now_us=cluster.clock)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(clock=Clock(NOON))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path, snapshot_seconds=3600)


def pay(cluster: Cluster, first: int, count: int) -> None:
    """Transactions an hour apart, every fifth with a label a day later."""
    for n in range(first, first + count):
        time = NOON - 900 * DAY + n * HOUR
        paid = {"id": n, "time": time, "customer": n % 7, "terminal": n % 3, "amount": 5 + n % 9}
        cluster.append(TRANSACTIONS, orjson.dumps(paid))
        if n % 5 == 0:
            said = {"id": n, "time": time + DAY, "fraud": True}
            cluster.append(LABELS, orjson.dumps(said))


def drained(job: Job) -> None:
    idle = 0
    while idle < 3:
        idle = 0 if job.step(0.0) else idle + 1


def ids(cluster: Cluster) -> list[int]:
    return [int(orjson.loads(each.value or b"")["id"]) for each in cluster.read(PREDICTIONS)]


def published(cluster: Cluster) -> list[int]:
    keys = [(each.key or b"").decode().split("/") for each in cluster.read(MODELS) if each.value]
    return [int(number) for number, part in keys if part == MANIFEST]


@pytest.mark.parametrize("make", [score, learn])
def test_a_job_that_cannot_begin_holds_neither_folder_nor_group(
    cluster: Cluster, settings: Settings, make: Make
) -> None:
    make(cluster, settings).close()
    with pytest.raises(StateError, match=r"whose lateness is|wanted the state of pipeline"):
        make(cluster, settings, replace(PIPELINE, lateness="1h"))
    there, cluster.ids = cluster.ids, dict.fromkeys(cluster.ids, "made anew")
    with pytest.raises(StateError, match="it was made anew"):
        make(cluster, settings)
    cluster.ids = there
    make(cluster, settings).close()
    make(cluster, replace(settings, state=settings.state / "other")).close()


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_after_an_error_the_next_job_goes_on_from_before_it(
    cluster: Cluster,
    settings: Settings,
    delivery: Literal["at-least-once", "exactly-once"],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_journal: Journal, _entry: Entry) -> None:
        raise OutputError("no space")

    settings = replace(settings, delivery=delivery)
    job = score(cluster, settings)
    pay(cluster, 0, 20)
    drained(job)
    pay(cluster, 20, 20)
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", full)
        with pytest.raises(OutputError, match="no space"):
            drained(job)
    job.release()
    again = score(cluster, settings)
    drained(again)
    again.close()
    assert sorted(set(ids(cluster))) == list(range(40))
    assert len(ids(cluster)) == 40 or delivery == "at-least-once"


def test_the_learn_job_gives_back_the_disk_of_what_no_outcome_can_speak_of(
    cluster: Cluster, settings: Settings
) -> None:
    scoring, learning = score(cluster, settings), learn(cluster, settings)
    for n in range(6):
        pay(cluster, 2000 * n, 2000)
        for job in (scoring, learning):
            drained(job)
            job.snapshot()
    assert learning.learnt > 10_000
    assert learning.learning.sizes()["held_on_disk"] < learning.learning.lanes[0].held * 32 * 0.7
    for job in (scoring, learning):
        job.close()


def test_a_version_that_waits_for_its_time_is_published_at_the_end(
    cluster: Cluster, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "EVERY_SECONDS", 3600.0)
    scoring, learning = score(cluster, settings), learn(cluster, settings)
    for n in range(4):
        pay(cluster, 500 * n, 500)
        drained(scoring)
        drained(learning)
    last = learning.learning.lineup.sequence
    assert len(published(cluster)) == 1 and published(cluster)[-1] < last
    learning.close()
    assert published(cluster)[-1] == last
    scoring.close()


def test_a_job_that_was_started_again_says_which_version_it_goes_on_with(
    cluster: Cluster, settings: Settings
) -> None:
    scoring, learning = score(cluster, settings), learn(cluster, settings)
    pay(cluster, 0, 500)
    for job in (scoring, learning, scoring):
        drained(job)
    pay(cluster, 500, 1)
    for job in (scoring, learning):
        drained(job)
        job.close()
    assert scoring.monitor.model.version > 0
    for make, before in ((score, scoring), (learn, learning)):
        job = make(cluster, settings)
        assert job.monitor.model.version == before.monitor.model.version
        job.close()


def test_of_versions_long_superseded_few_stay(
    cluster: Cluster, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "KEPT", 2)
    monkeypatch.setattr(publishing, "REMEMBERED", 3)
    monkeypatch.setattr(model_feed, "KEPT", 2)
    monkeypatch.setattr(publishing, "EVERY_SECONDS", 0.0)
    scoring, learning = score(cluster, settings), learn(cluster, settings)
    for n in range(20):
        pay(cluster, 200 * n, 200)
        drained(scoring)
        scoring.snapshot()
        drained(learning)
        cluster.clock.sleep(1.0)
    learning.close()
    cluster.topics[MODELS][0].compact()
    there = {each.key: each.value for each in cluster.read(MODELS) if each.value}
    weights = [each for each in there if not (each or b"").endswith(b"/manifest")]
    assert 2 < len(weights) < 10
    assert len(there) <= 2 * len(weights) + 3
    files = list((settings.state / "score" / "models").glob("*.json"))
    assert 2 < len(files) < 10 < learning.learning.lineup.sequence
    scoring.close()
    learn(cluster, settings).close()
    score(cluster, settings).close()


def test_an_input_keeps_its_place_when_partitions_are_added(settings: Settings) -> None:
    cluster = Cluster(clock=Clock(NOON))
    job = score(cluster, settings)
    pay(cluster, 0, 50)
    drained(job)
    job.release()  # a journal, and no snapshot yet
    cluster.topics[TRANSACTIONS].append(Log())
    again = score(cluster, settings)
    assert again.inputs == (*job.inputs, Input(TRANSACTIONS, 1))
    pay(cluster, 50, 50)
    drained(again)
    again.close()
    assert sorted(set(ids(cluster))) == list(range(100))
    elsewhere = Cluster({f"shop.{name}": 1 for name in cluster.topics}, clock=Clock(NOON))
    with pytest.raises(StateError, match="give the --prefix of that topic"):
        score(elsewhere, replace(settings, prefix="shop."))


def test_a_state_without_a_snapshot_knows_its_topics_too(
    cluster: Cluster, settings: Settings
) -> None:
    job = score(cluster, settings)
    pay(cluster, 0, 50)
    drained(job)
    job.release()  # a journal, and no snapshot yet
    there, cluster.ids = cluster.ids, dict.fromkeys(cluster.ids, "made anew")
    for _ in range(2):  # being refused changes nothing
        with pytest.raises(StateError, match="it was made anew"):
            score(cluster, settings)
    cluster.ids = there
    score(cluster, settings).close()


def test_outcomes_that_wait_for_their_predictions_are_bounded(
    cluster: Cluster, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lessons, "MOST_QUEUED", 10)
    monkeypatch.setattr(learn_job, "FEW", 1)
    scoring = score(cluster, settings)
    for n in range(30):
        pay(cluster, 40 * n, 40)
        drained(scoring)
    scoring.close()
    told = cluster.read(OUTCOMES)
    alone = Cluster(clock=Clock(NOON))
    for record in told:
        alone.append(OUTCOMES, record.value)
    learning = learn(alone, settings)
    drained(learning)
    assert len(told) > 20 > learning.monitor.inputs[0].taken > 0
    learning.close()


@pytest.mark.parametrize(("make", "name"), [(score, MODELS), (learn, MODELS), (learn, OUTCOMES)])
def test_a_topic_whose_order_counts_has_one_partition(
    settings: Settings, make: Make, name: str
) -> None:
    several = {topic: 1 + (topic == name) for topic in Cluster().topics}
    with pytest.raises(HeadraceError, match=f"{name}: wanted one partition"):
        make(Cluster(several), settings)


def test_a_snapshot_is_taken_only_of_what_has_changed(cluster: Cluster, settings: Settings) -> None:
    job = score(cluster, replace(settings, snapshot_seconds=0.1))
    taken = job.monitor.snapshots
    cluster.clock.sleep(1.0)
    drained(job)
    assert not list((settings.state / "score" / "snapshots").glob("*.snapshot"))
    assert taken.taken == 0
    job.close()


@pytest.mark.parametrize("earlier", [False, True])
def test_what_waited_for_its_turn_is_buried_with_its_bytes_after_a_restart_too(
    cluster: Cluster, settings: Settings, monkeypatch: pytest.MonkeyPatch, *, earlier: bool
) -> None:
    if earlier:
        monkeypatch.setattr(score_job, "with_records", lambda batch, _: batch)
        monkeypatch.setattr(score_job, "parted", lambda batch: (batch, None))
    strict = replace(settings, order="strict")
    paid = {"id": 1, "time": NOON - DAY, "customer": 1, "terminal": 1, "amount": 5}
    other = orjson.dumps(paid | {"time": NOON - DAY + 1, "amount": 6})
    job = score(cluster, strict)
    for record in (b"[]", other, orjson.dumps(paid)):
        cluster.append(TRANSACTIONS, record)
        drained(job)
    job.close()
    monkeypatch.undo()
    job = score(cluster, strict)
    cluster.append(TRANSACTIONS, orjson.dumps(paid | {"id": 2, "time": NOON}))
    drained(job)
    job.close()
    letters = [orjson.loads(each.value or b"") for each in cluster.read(DEAD_LETTERS)]
    said = {each["reason"]: (each["offset"], each["raw"]) for each in letters}
    raw = "" if earlier else other.decode()
    assert said == {"not an object": (0, "[]"), "conflicting id": (1, raw)}
