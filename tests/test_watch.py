"""Watching is a function of events, outcomes and how far time has come, however it is told."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.proofs.watched import ALL, All
from jobs.fraud import pipeline as fraud
from jobs.learning import Learning
from jobs.pipeline import Flow
from jobs.scoring import Scoring
from jobs.state import put_watching, take_models
from jobs.topic_records import prediction_records
from operators.drift.alarm import Alarm, Finding
from operators.drift.bucket import Bucket, Int64s, Matured, Scope, Watcher
from operators.drift.delay import LabelDelay
from operators.drift.pending import Pending
from operators.drift.response import Response, Told
from operators.drift.responses import Every, On, RaiseRate, Reset
from operators.drift.volume import HOUR_US, Volume
from operators.drift.watch import Watch, Watching
from operators.labels import BY_LATE_LABEL, BY_MATURITY
from streams.batch import EVENT
from streams.errors import ConfigError, StateError
from streams.records import Outcomes
from streams.schema import DAY
from streams.simulation.simulator import Simulation
from streams.simulation.traffic import Traffic
from tests.batches import (
    PIPELINE,
    Row,
    batch_of,
    cuts,
    delays,
    pieces,
    transactions,
    with_labels,
)
from tests.lanes_engine import Engine
from tests.learnt_once import held_of
from tests.test_flow import run
from tests.test_lanes import lanes

FEW = settings(max_examples=20)
ACTING = replace(
    PIPELINE,
    responses=(
        On("volume", RaiseRate(times=4, lasting="2d")),
        Every(time="3d", do=Reset(recent=5)),
    ),
)
SCOPE = Scope(
    ("amount", "count"), {"kind": ("a", "b")}, 3 * DAY, 0.01, (0, DAY), "15m"
)  # fmt: skip
STEADY = replace(PIPELINE, every=10**9)
"""One version scores all."""


def tell(
    watching: Watching, times: list[int], known: list[int], until: int, clock: int
) -> list[Alarm]:
    """Tell of the events and outcomes at these times up to one, and how far time has come."""
    at = np.array([time for time in times if time < until], np.int64)
    late = np.array([time for time in known if time < until], np.int64)
    n, seen = len(late), at // HOUR_US
    ones = np.ones(n)
    watching.mature(
        late,
        Matured(
            late, late - 1, late * 7 % 101, ones / 2, ones.astype(np.int8), ones.astype(np.uint8),
            np.ones((n, 1), np.int64),
        ),
    )  # fmt: skip
    x = np.column_stack([at / 7, seen.astype(np.float64)])
    watching.see(at, x, (1 + seen % 8) / 10, seen // 9, seen[:, None] % 3)
    return watching.close(clock)


times = st.lists(
    st.integers(0, 60).map(lambda step: step * HOUR_US // 3) | st.integers(0, 30 * DAY), max_size=30
)


@FEW
@given(times, times, st.lists(st.integers(0, 31 * DAY), max_size=8), st.randoms())
def test_buckets_are_the_same_however_it_is_told_and_whenever_it_is_kept(
    times: list[int], known: list[int], clocks: list[int], chance: Random
) -> None:
    first = min(times, default=0)
    known = [first + time for time in known]
    end = first + 62 * DAY
    whole = tell(ALL.bind(SCOPE), sorted(times), known, end, end)
    chance.shuffle(times)
    chance.shuffle(known)
    watching, found = ALL.bind(SCOPE), []
    for before, clock in pairwise([0, *sorted(clocks), end]):
        fresh = [time for time in times if time >= before], [t for t in known if t >= before]
        found += tell(watching, *fresh, clock, clock)
        if chance.random() < 0.5:
            watching, kept = ALL.bind(SCOPE), watching.state()
            watching.load(kept)
    assert found == whole
    assert [each.number for each in found] == [*range(1, len(found) + 1)]
    assert sum(each.size for each in found) == len(times)


@FEW
@given(transactions(), delays, cuts, lanes, st.randoms(use_true_random=False))
def test_lanes_in_strict_order_raise_the_alarms_of_one_process(
    rows: list[Row], late: list[int], edges: list[int], count: int, chance: Random
) -> None:
    rows = [*rows, Row(10**7, 300 * DAY, customer=1)]
    stream = with_labels(rows, late)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alarms = Flow(STEADY, folder).process(batch_of(stream)).drift
        engine = Engine(count, folder, pipeline=STEADY)
        for start, stop in pairwise([0, *sorted({e for e in edges if e < len(rows)}), len(stream)]):
            engine.take(batch_of(stream)[start:stop])
        engine.advance(400 * DAY)
        for lane in range(count):
            store = engine.store("index", lane)
            engine.outcomes += engine.indexes.lane(lane, store).advance(400 * DAY, store)
        learning, found = Learning(STEADY, folder / "learning"), []
        for said in sorted(engine.said, key=lambda _: chance.random()):
            learning.hold(held_of([said], len(learning.names)))
        waiting = [[each for each in engine.outcomes if each.lane == n] for n in range(count)]
        while any(waiting):
            told = chance.choice([each for each in waiting if each])
            found += learning.learn(told.pop(0)).drift
        learning.close()
    assert alarms
    assert found[: len(alarms)] == alarms


def acts(told: Sequence[Told]) -> list[Any]:
    """Responses, and of alarms what does not depend on who scored."""
    return [
        (each.number, each.at_us, each.size) if isinstance(each, Alarm) else each for each in told
    ]


@FEW
@given(transactions(), delays, cuts)
def test_responses_act_between_the_same_two_examples_however_it_is_cut(
    rows: list[Row], late: list[int], edges: list[int]
) -> None:
    stream = with_labels([*rows, Row(10**7, 240 * DAY, customer=1)], late)
    whole, cut = run([batch_of(stream)], ACTING), run(pieces(stream, edges), ACTING)
    assert (whole.said, whole.learnt, whole.alarms) == (cut.said, cut.learnt, cut.alarms)
    assert any(isinstance(each, Response) for each in whole.alarms)


@FEW
@given(transactions(), delays, cuts)
def test_responses_of_the_learning_half_are_those_of_the_whole_flow(
    rows: list[Row], late: list[int], edges: list[int]
) -> None:
    stream = with_labels([*rows, Row(10**7, 240 * DAY, customer=1)], late)
    whole = run([batch_of(stream)], ACTING)
    found: list[Told] = []
    with tempfile.TemporaryDirectory() as name:
        scoring = Scoring(ACTING, Path(name) / "score")
        learning = Learning(ACTING, Path(name) / "learn")
        for batch in pieces(stream, edges):
            scored, told = scoring.process(batch)
            said = prediction_records(batch, scored, scoring.names, scoring.inputs)[1].full()
            if said:
                learning.hold(held_of(said, len(learning.names)))
            for each in told:
                outcomes = msgspec.json.decode(each.record(), type=Outcomes)
                found += learning.learn(outcomes).drift
        learnt = {key: value.tobytes() for key, value in learning.lineup.state().items()}
        learning.close()
        scoring.close()
    wanted = acts(whole.alarms)
    assert acts(found) == wanted[: len(found)]
    if len(found) == len(wanted):
        book = {"/book"}  # it knows alarms by their detectors, which tell of the scores here
        assert {k: learnt[k] for k in learnt.keys() - book} == {
            k: whole.learnt[k] for k in whole.learnt.keys() - book
        }


def test_labels_that_stop_are_told_while_events_go_on(tmp_path: Path) -> None:
    world = Traffic(
        days=14, per_day=600, customers=200, terminals=100, fraud_rate=0.1, label_delay="12h"
    )
    stop = world.begin + 11 * DAY
    watched = replace(fraud, challengers={}, watch=Watch(monitors=(LabelDelay(),)))
    flow, scoring = Flow(watched, tmp_path / "flow"), Scoring(watched, tmp_path / "score")
    learning = Learning(watched, tmp_path / "learn")
    whole, apart = list[Told](), list[Told]()
    for batch, _ in Simulation(world, batch_size=256):
        came = batch.take(np.flatnonzero((batch.kind == EVENT) | (batch.received < stop)))
        if batch.received[-1] > stop + DAY:
            break
        whole += flow.process(came).drift
        scored, told = scoring.process(came)
        said = prediction_records(came, scored, scoring.names, scoring.inputs)[1].full()
        learning.hold(held_of(said, len(learning.names)))
        for each in told:
            outcomes = msgspec.json.decode(each.record(), type=Outcomes)
            apart += learning.learn(outcomes).drift
    for found in (whole, apart):
        silences = [each for each in found if isinstance(each, Alarm) and not each.slice]
        assert [each.detector for each in silences] == ["silence"]
        assert stop < silences[0].at_us < stop + DAY // 2
    learning.close()
    scoring.close()
    flow.close()


def test_another_watch_begins_anew_and_numbers_on(tmp_path: Path) -> None:
    rows = [Row(n, n * DAY // 4) for n in range(40)]
    flow = Flow(PIPELINE, tmp_path)
    before = flow.process(batch_of(rows)).drift
    kept = take_models(flow.lineup, flow.evaluation, flow.watching)
    other = replace(PIPELINE, watch=replace(ALL, least=4)).watching()
    assert "declared otherwise" in put_watching(kept, other)
    assert other is not None and other.number == before[-1].number == len(before)
    at, x = np.array([100 * DAY]), np.zeros((1, len(flow.names)))
    other.see(at, x, np.ones(1) / 2, np.zeros(1, np.int64), np.zeros((1, 0), np.int64))
    assert [each.number for each in other.close(101 * DAY)] == [len(before) + 1]
    assert not put_watching(kept, None)
    assert "begins here" in put_watching({}, other)
    with pytest.raises(StateError, match="begins anew"):
        Watch(monitors=(Volume(fall=0.4),)).bind(SCOPE).load(Watch().bind(SCOPE).state())


def test_what_no_pipeline_can_be_watched_by_is_refused() -> None:
    for bucket, act in (("7m", "1d"), ("90m", "1d"), ("15m", "30m"), ("15m", "0d")):
        with pytest.raises(ConfigError, match="watch: wanted"):
            Watch(bucket=bucket, act=act)
    assert replace(PIPELINE, watch=None).watching() is None


@FEW
@given(st.integers(0, 60), st.integers(1, 9), st.randoms(use_true_random=False))
def test_of_too_many_examples_the_same_are_kept_whatever_came_first(
    count: int, most: int, chance: Random
) -> None:
    def kept(order: list[int], pieces: int) -> list[int]:
        pending = Pending(0, most)
        for piece in range(pieces):
            ids = np.array(order[piece::pieces], np.int64)
            none = np.zeros(len(ids))
            pending.add(
                ids % 3,
                Matured(
                    ids % 5, ids, ids, none, none.astype(np.int8), none.astype(np.uint8),
                    np.zeros((len(ids), 0), np.int64),
                ),
            )  # fmt: skip
            if chance.random() < 0.3:
                again = Pending(0, most)
                again.load(pending.state())
                pending = again
        return [*map(int, pending.of(0, 2).ident)]

    order = [*range(count)]
    whole = kept(order, 1)
    chance.shuffle(order)
    assert kept(order, chance.randrange(1, 5)) == whole
    assert len(whole) <= 2 * most


@FEW
@given(st.lists(st.integers(0, 2), max_size=60), st.integers(1, 9), st.integers(1, 4))
def test_the_kept_of_too_many_examples_stand_for_all_of_their_cell(
    cells: list[int], most: int, pieces: int
) -> None:
    pending, whole = Pending(0, most), np.array(cells, np.int64)
    for piece in range(pieces):
        ids = np.arange(piece, len(cells), pieces)
        none = np.zeros(len(ids))
        pending.add(
            whole[ids],
            Matured(
                ids, ids, ids, none, none.astype(np.int8), none.astype(np.uint8),
                np.zeros((len(ids), 0), np.int64),
            ),
        )  # fmt: skip
        again = Pending(0, most)
        again.load(pending.state())
        pending = again
    for cell in range(3):
        found, wanted = pending.of(cell, cell + 1), cells.count(cell)
        each = found.stands if len(found.stands) else np.ones(len(found))
        assert each.sum() == wanted
        assert np.ptp(each) <= 1 if len(each) else not wanted
    pending.forget(3)
    assert not len(pending.of(0, 3)) and not pending.state()["left out"].size


def test_a_late_label_is_told_beside_the_examples_and_is_none_of_them() -> None:
    told: list[Bucket] = []

    class Telling:
        def bind(self, _scope: Scope) -> Telling:
            return self

        def close(self, bucket: Bucket) -> list[Finding]:
            told.append(bucket)
            return []

        def state(self) -> dict[str, npt.NDArray[Any]]:
            return {}

        def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
            assert not state

    watch = Watch(monitors=(Telling(),))
    watching, again = watch.bind(SCOPE), watch.bind(SCOPE)
    events(watching, np.array([1]))
    at, causes = np.array([2, 3]), np.array([BY_MATURITY, BY_LATE_LABEL], np.uint8)
    none = np.zeros(2)
    watching.mature(
        at, Matured(at, at, at, none, at.astype(np.int8), causes, np.zeros((2, 1), np.int64))
    )
    again.load(watching.state())
    for each in (watching, again):
        each.close(HOUR_US)
        assert told[-1].matured.ident.tolist() == [2]
        assert told[-1].late.ident.tolist() == [3]


def events(watching: Watching, at_us: Int64s) -> None:
    """Have events at these times go by, all of them alike."""
    n, ones = len(at_us), np.ones(len(at_us))
    watching.see(at_us, np.ones((n, 2)), ones / 2, ones.astype(np.int64), np.ones((n, 1), np.int64))


def hours(counts: list[float]) -> list[Alarm]:
    """What `Volume` says of so many events in each hour."""
    watching, found = Watch(least=10**9, monitors=(Volume(),)).bind(SCOPE), []
    for hour, count in enumerate(counts):
        events(watching, np.full(round(count), hour * HOUR_US + 1, np.int64))
        found += watching.close((hour + 1) * HOUR_US)
    return found


def test_a_source_that_falls_silent_is_told_within_the_hour_and_that_it_is_back() -> None:
    draw = np.random.default_rng(5)
    counts = draw.poisson(40 + 30 * np.sin(np.arange(24 * 40) / 24 * 2 * np.pi)).astype(float)
    silent = slice(24 * 30 + 2, 24 * 30 + 9)
    counts[silent] = 0
    raised, over = hours(counts.tolist())
    assert (raised.kind, raised.over, over.over) == ("volume", False, True)
    assert silent.start < raised.at_us // HOUR_US <= silent.start + 2
    assert raised.since_us // HOUR_US == silent.start and raised.size == 1
    assert silent.stop < over.at_us // HOUR_US <= silent.stop + 5


def test_what_is_open_is_known_after_a_restart_until_it_is_over() -> None:
    watch = Watch(least=10**9, monitors=(Volume(),))
    watching, going = watch.bind(SCOPE), []
    for hour in range(24 * 16):
        n = 0 if hour in range(24 * 15, 24 * 15 + 6) else 40
        events(watching, np.full(n, hour * HOUR_US + 1))
        watching.close((hour + 1) * HOUR_US)
        watching, kept = watch.bind(SCOPE), watching.state()
        watching.load(kept)
        going.append(watching.going()["volume"])
    told = np.flatnonzero(np.diff(going)) + 1
    assert [going[hour] for hour in told] == [1, 0]
    assert 24 * 15 <= told[0] < 24 * 15 + 6 <= told[1]


@dataclass(frozen=True, slots=True)
class Hourly(Volume):
    """Tells of every bucket, as one who can wait an hour."""

    def bind(self, scope: Scope) -> Any:
        return All().bind(scope)


def test_who_can_wait_is_told_an_hour_as_one() -> None:
    def sizes(*monitors: Watcher) -> list[float]:
        watching = Watch(least=1, monitors=monitors).bind(SCOPE)
        events(watching, np.arange(40) * HOUR_US // 8)
        found = watching.close(5 * HOUR_US)
        return [each.size for each in found]

    assert sizes(All()) == [2.0] * 20
    assert sizes(Hourly()) == [8.0] * 5
    assert sizes(All(), Hourly()) == [*[2.0] * 4, 8.0] * 5


def test_a_third_of_the_sources_that_stays_silent_is_one_alarm_and_then_usual() -> None:
    draw = np.random.default_rng(6)
    counts = draw.poisson(60, 24 * 60).astype(float)
    counts[24 * 21 :] *= 0.3
    raised, over = hours(counts.tolist())
    assert raised.at_us - 21 * DAY < DAY // 4
    assert over.over and over.at_us - raised.at_us == pytest.approx(7 * DAY, abs=DAY)


def test_steady_traffic_of_any_size_raises_no_alarm_of_volume() -> None:
    draw = np.random.default_rng(7)
    for rate, spread in ((0.5, 1), (5, 1), (50, 1), (50, 6), (400, 1)):
        counts = (
            draw.gamma(rate / spread, spread, 24 * 90) if spread > 1 else np.full(24 * 90, rate)
        )
        assert not hours(draw.poisson(counts).astype(float).tolist())
