"""A score job goes on with the state of a pipeline with other features."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.kafka_host.learn_job import LearnJob
from jobs.kafka_host.score_job import ScoreJob
from streams.errors import StateError
from streams.memory import Clock, Cluster, MemoryBroker
from streams.schema import Number
from streams.snapshots import Snapshots
from streams.topics import EXAMPLES, PREDICTIONS
from tests.batches import CUSTOMER, PIPELINE
from tests.test_lanes import NEW
from tests.test_topic_job import NOON, drained, pay

LONGER = replace(PIPELINE, cap=256, features={**PIPELINE.features, "month": CUSTOMER.count("30d")})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path, snapshot_seconds=3600)


def started(
    cluster: Cluster, settings: Settings, pipeline: Pipeline = PIPELINE, *, warm_up: bool = False
) -> ScoreJob:
    broker = MemoryBroker(cluster)
    return ScoreJob(pipeline, broker, settings, threads=False, warm_up=warm_up)


def said(cluster: Cluster) -> list[Any]:
    return [orjson.loads(each.value or b"") for each in cluster.read(PREDICTIONS)]


def run(
    folder: Path, *parts: tuple[int, Pipeline], warm_up: bool = False, **given: Any
) -> list[Any]:
    """What is predicted where the pipeline changes after so many payments."""
    cluster, first = Cluster(clock=Clock(NOON)), 0
    settings = replace(Settings(state=folder, snapshot_seconds=3600), **given)
    for count, pipeline in parts:
        pay(cluster, first, count)
        first += count
        job = started(cluster, settings, pipeline, warm_up=warm_up)
        drained(job)
        job.close()
    return said(cluster)


@pytest.mark.parametrize("order", ["arrival", "strict"])
def test_after_a_change_it_says_what_it_had_said_with_the_new_features_from_the_beginning(
    tmp_path: Path, order: str
) -> None:
    changed = run(tmp_path / "a", (500, PIPELINE), (300, NEW), order=order)
    always = run(tmp_path / "b", (500, NEW), (300, NEW), order=order)
    known = sum(len(each["features"]) == len(PIPELINE.features) for each in changed)
    assert len(changed) == len(always) > 780
    new = [each for each in changed if len(each["features"]) == len(NEW.features)]
    assert known and new and new == always[-len(new) :]


def test_a_longer_window_wants_a_warm_up_and_is_exact_once_it_has_passed(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="'customer': they reach back 228h, 732h are wanted"):
        run(tmp_path / "a", (500, PIPELINE), (1, LONGER))
    changed = run(tmp_path / "b", (500, PIPELINE), (800, LONGER), warm_up=True)
    always = run(tmp_path / "c", (500, LONGER), (800, LONGER))
    assert changed[500] != always[500]
    whole = 500 + 24 * 31
    assert changed[whole:] == always[whole:]


def learning(cluster: Cluster, settings: Settings, pipeline: Pipeline = PIPELINE) -> LearnJob:
    return LearnJob(pipeline, MemoryBroker(cluster), settings, now_us=cluster.clock)


def turn(cluster: Cluster, settings: Settings, pipeline: Pipeline) -> tuple[LearnJob, int]:
    """Score and learn until nothing is left to do; the version in force then."""
    score, learn = started(cluster, settings, pipeline), learning(cluster, settings, pipeline)
    for _ in range(3):
        drained(learn)
        drained(score)
    version = score.scoring.sequence
    for job in (learn, score):
        job.close()
    return learn, version


@pytest.mark.parametrize("appended", [True, False])
def test_after_a_change_the_learner_learns_from_what_was_predicted_since(
    settings: Settings, caplog: pytest.LogCaptureFixture, appended: bool
) -> None:
    new = NEW
    if appended:
        added = {"new": CUSTOMER.sum("amount", "5d")}
        new = replace(PIPELINE, features={**PIPELINE.features, **added})
    cluster = Cluster(clock=Clock(NOON))
    pay(cluster, 0, 300)
    before, old = turn(cluster, settings, PIPELINE)
    table = before.learning.lineup.learners[0].state()["table"]
    with caplog.at_level(logging.INFO, "headrace"):
        score, learn = started(cluster, settings, new), learning(cluster, settings, new)
    assert ("champion, prior, amount, random: other inputs" in caplog.text) != appended
    kept = learn.learning.lineup.learners[0].state()["table"]
    assert np.array_equal(kept, table) == appended
    learnt = learn.learnt
    for job in (learn, score):
        job.close()
    pay(cluster, 300, 300)
    after, version = turn(cluster, settings, new)
    assert version > old > 0
    examples = [orjson.loads(each.value or b"") for each in cluster.read(EXAMPLES)]
    mine = [each for each in examples if each["number"] >= 300]
    assert len(mine) == after.learnt - learnt > 100
    assert {len(each["features"]) for each in mine} == {len(new.features)}
    predicted = {each["number"]: each["features"] for each in said(cluster)}
    assert all(predicted[each["number"]] == each["features"] for each in mine)
    used = {each["model_version"] for each in said(cluster) if each["number"] >= 300}
    assert all(each > old for each in used)


def test_killed_right_after_a_change_it_goes_on_from_it(
    tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    always = run(tmp_path / "always", (600, NEW))
    cluster = Cluster(clock=Clock(NOON))
    pay(cluster, 0, 500)
    first = started(cluster, settings)
    drained(first)
    first.close()
    with caplog.at_level(logging.INFO, "headrace"):
        started(cluster, settings, NEW).release()
    assert f"from pipeline {PIPELINE.definition} as {NEW.definition}" in caplog.text
    assert "the prior scores until the learner publishes a version of this" in caplog.text
    pay(cluster, 500, 50)
    killed = started(cluster, settings, NEW)
    killed.step(0.0)
    killed.release()
    pay(cluster, 550, 50)
    last = started(cluster, settings, NEW)
    drained(last)
    last.close()
    by_number = {each["number"]: each for each in said(cluster)}
    assert [by_number[n] for n in range(500, 600)] == always[500:]


def test_batches_that_the_old_pipeline_promised_are_its_own_to_make_again(
    settings: Settings,
) -> None:
    cluster = Cluster(clock=Clock(NOON))
    pay(cluster, 0, 100)
    first = started(cluster, settings)
    drained(first)
    first.snapshot()
    pay(cluster, 100, 10)
    drained(first)
    first.release()
    with pytest.raises(StateError, match=r"which was killed 1 batches .* start that one again"):
        started(cluster, settings, NEW)
    again = started(cluster, settings)
    drained(again)
    again.close()
    started(cluster, settings, NEW).close()


def test_other_events_are_refused_by_what_differs(settings: Settings) -> None:
    cluster = Cluster(clock=Clock(NOON))
    started(cluster, settings).close()
    cents = replace(PIPELINE.event, numbers=(Number("amount", scale=3, maximum=10_000),))
    with pytest.raises(StateError, match=r"events whose numbers is .*scale=2.* says .*scale=3"):
        started(cluster, settings, replace(PIPELINE, event=cents))
    with pytest.raises(StateError, match="events whose lateness is '12h', the pipeline says '1h'"):
        started(cluster, settings, replace(PIPELINE, lateness="1h"))


def test_a_state_that_does_not_say_what_it_is_of_is_refused(settings: Settings) -> None:
    cluster = Cluster(clock=Clock(NOON))
    started(cluster, settings).close()
    folder = settings.state / "score" / "snapshots"
    snapshots = Snapshots(folder, PIPELINE.definition)
    state = snapshots.load()
    assert state
    del state.meta["pipeline"]
    snapshots.commit(state.arrays, state.meta)
    snapshots.close()
    with pytest.raises(StateError, match="by a release that did not say how; go on with it once"):
        started(cluster, settings, NEW)
    started(cluster, settings).close()
    started(cluster, settings, NEW).close()


def test_an_entity_that_is_new_begins_with_a_warm_up_and_one_that_is_gone_is_dropped(
    tmp_path: Path,
) -> None:
    one = replace(
        PIPELINE,
        features={n: f for n, f in PIPELINE.features.items() if f.entity != "terminal"},
        champion=replace(PIPELINE.champion, inputs=["amount"], crosses=[]),  # type: ignore[type-var]
    )
    assert len(run(tmp_path / "a", (200, PIPELINE), (10, one))) == 210
    with pytest.raises(StateError, match="'terminal': they do not hold any event, so"):
        run(tmp_path / "b", (200, one), (10, PIPELINE))
    assert len(run(tmp_path / "c", (200, one), (10, PIPELINE), warm_up=True)) == 210
