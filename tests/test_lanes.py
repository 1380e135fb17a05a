"""Operators spread over lanes say what one process says, whatever is lost and moved on the way."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.definition import Pipeline
from jobs.intake import KEY_WORDS
from jobs.lanes.described import records_of, settle_index, settle_windows, swept
from jobs.lanes.held import NEVER
from jobs.lanes.indexing import LaneIndexes
from jobs.lanes.indexstore import FIRST, KeptIndex
from jobs.lanes.rows import Admitted
from jobs.lanes.store import MemoryStore
from jobs.lanes.turns import Turns
from jobs.lanes.windows import LaneWindows
from jobs.scoring import Scoring
from jobs.topic_records import prediction_records
from operators.admission import COUNTS
from operators.featurize import chain
from operators.keyrecords import newest_us
from operators.plan import EntityPlan
from operators.ring import RETENTION
from streams.batch import Batch
from streams.errors import StateError
from streams.order import Sorter
from streams.records import Outcomes
from streams.schema import DAY, duration_us
from tests.batches import (
    CUSTOMER,
    PIPELINE,
    TERMINAL,
    Row,
    batch_of,
    cuts,
    delays,
    pieces,
    transactions,
    with_labels,
)
from tests.lanes_engine import PLENTY, Engine, arrivals, traced
from tests.learnt_once import learn_once

WORDS = KEY_WORDS + 2 * len(PIPELINE.event.keys)
NEW = replace(
    PIPELINE,
    features={
        **{name: each for name, each in PIPELINE.features.items() if name != "mean"},
        "new": CUSTOMER.std("amount", "6d", delay="1d"),
        "week": TERMINAL.positives("7d"),
    },
)
"""Other windows over what the records of the first hold."""
lanes = st.integers(1, 5)


def of_one_process(batches: list[Batch], pipeline: Pipeline = PIPELINE) -> tuple[Any, Any, Any]:
    """Predictions by id, counts, and what became known of whom."""
    with tempfile.TemporaryDirectory() as folder:
        scoring, sorter = Scoring(pipeline, Path(folder)), Sorter(duration_us(pipeline.lateness))
        said: list[bytes] = []
        known: Counter[Any] = Counter()
        numbers: dict[int, str] = {}
        rest = (sorter.flush() for _ in range(1))
        ordered = (sorter.push(batch)[0] for batch in batches)
        for batch in (*ordered, *(each for each in rest if each is not None)):
            scored, made = scoring.process(batch)
            outcomes = [msgspec.json.decode(each.record(), type=Outcomes) for each in made]
            said += prediction_records(batch, scored, scoring.names, scoring.inputs)[1].full()
            numbers |= by_number(said)
            known.update(told(outcomes, numbers))
        counts = Counter(dict(zip(COUNTS, scoring.counts.tolist(), strict=True)))
        scoring.close()
        return by_id(said), counts, known


def of_lane(stores: defaultdict[tuple[str, int], MemoryStore], name: str, lane: int) -> MemoryStore:
    """The store of a lane, empty where there was none."""
    return stores[name, lane]


def unexpired(store: MemoryStore, entity: EntityPlan, batches: list[Batch]) -> dict[bytes, bytes]:
    """Its records but for those that a sweep, which comes now and then, has forgotten or will."""
    ended = max((int(each.time.max()) for each in batches if len(each)), default=NEVER)
    limit, shape = ended - int(entity.shape[RETENTION]), entity.shape
    return {
        key: raw
        for key, raw in records_of(store)
        if newest_us(np.frombuffer(raw, np.int64), shape) > limit
    }


def by_id(said: list[bytes]) -> dict[str, bytes]:
    """What was said of each id, its number left out."""
    return {orjson.loads(each)["id"]: each[: each.rindex(b',"number"')] for each in said}


def by_number(said: list[bytes]) -> dict[int, str]:
    found = map(orjson.loads, said)
    return {each["number"]: each["id"] for each in found}


def told(outcomes: list[Outcomes], numbers: dict[int, str]) -> list[Any]:
    return [
        (numbers[number], *rest)
        for each in outcomes
        for number, *rest in zip(each.numbers, each.values, each.known, each.causes, strict=True)
        if each.causes
    ]


def rows_of(turns: list[int]) -> Admitted:
    """Events of these turns, labels where one is -1; the first word of a feature is the turn."""
    n, turn = len(turns), np.array(turns, np.int64).reshape(-1, 1)
    zeros = np.zeros(n, np.int64)
    return Admitted(
        number=np.where(turn[:, 0] < 0, -1, turn[:, 0]),
        time=zeros,
        when=zeros,
        ident=zeros,
        known=zeros,
        value=np.where(turn[:, 0] < 0, 1, -1).astype(np.int8),
        late=zeros > 0,
        keys=np.zeros((n, 1, 2), np.int64),
        numbers=np.zeros((n, 0), np.int64),
        categories=np.zeros((n, 0), np.int64),
        turn=turn,
        features=turn.astype(np.float64),
        texts=(pa.array([""] * n, pa.large_string()),),
    )


@given(st.integers(0, 60), st.integers(1, 5), st.randoms(use_true_random=False))
def test_rows_that_took_many_ways_go_on_by_batches_in_the_order_in_which_they_were_read(
    count: int, ways: int, chance: Random
) -> None:
    parts: list[list[int]] = [[] for _ in range(ways)]
    batches = [2 * turn + (turn == count - 1 or chance.random() < 0.2) for turn in range(count)]
    for turn in batches:
        chance.choice(parts).append(turn)
    labels = 0
    turns = Turns(0)
    found: list[int] = []
    events: list[int] = []
    while any(parts):
        part = chance.choice([each for each in parts if each])
        cut = chance.randint(1, len(part))
        here, part[:] = part[:cut], part[cut:]
        if chance.random() < 0.3:
            here, labels = [-1, *here], labels + 1
        ready = turns.push(7, rows_of(here))
        found += [] if ready is None else ready.turn[:, 0].tolist()
        events = [turn for turn in found if turn >= 0]
        assert not events or events[-1] % 2
    assert events == batches
    assert found.count(-1) == labels


# Two lanes are let go one after the other, the second from a time long before the first one's end.
@example(
    [
        Row(0, 200 * DAY),
        Row(1, 210 * DAY),
        Row(2, 200 * DAY, customer=2),
        Row(4, 200 * DAY, customer=2),
    ],
    [], [], 4, set(), False,
)  # fmt: skip
@given(transactions(), delays, cuts, lanes, st.sets(st.integers(0, 8)), st.booleans())
def test_lanes_say_what_one_process_says_whatever_is_lost_from_memory(
    rows: list[Row], late: list[int], edges: list[int], count: int, lost: set[int], small: bool
) -> None:
    batches = pieces(with_labels(rows, late), edges)
    said, counts, known = of_one_process(batches)
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(count, Path(folder), most_bytes=0 if small else PLENTY)
        for place, batch in enumerate(batches):
            engine.take(batch)
            if place in lost:
                engine.restart()
        engine.advance(2**62)
        assert by_id(engine.said) == said
        ids = [int(orjson.loads(each)["id"]) for each in engine.said]
        assert engine.headers == [traced(number) for number in ids]
        found = engine.counts()
        time_bound = {"matured", "expired", "waiting_expired"}
        assert {k: v for k, v in found.items() if k not in time_bound} == {
            k: v for k, v in counts.items() if k not in time_bound
        }
        labelled = {k: v for k, v in known.items() if k[3] != 1}
        mine = Counter(told(engine.outcomes, by_number(engine.said)))
        assert {k: v for k, v in mine.items() if k[3] != 1} == labelled


@example(  # a customer who is forgotten between two batches
    [Row(place, day * DAY, place < 1) for place, day in enumerate((200, 200, 208, 210, 200))],
    [], [4], 1,
)  # fmt: skip
@given(transactions(), delays, cuts, lanes)
def test_what_several_batches_change_may_be_kept_at_once(
    rows: list[Row], late: list[int], edges: list[int], count: int
) -> None:
    (entity, *_), batches = PIPELINE.plan().entities, pieces(with_labels(rows, late), edges)
    kept: list[list[Any]] = []
    for at_once in (False, True):
        stores: defaultdict[tuple[str, int], MemoryStore] = defaultdict(MemoryStore)
        with tempfile.TemporaryDirectory() as folder:
            of_index, of_windows = (partial(of_lane, stores, name) for name in ("index", "windows"))
            indexes = LaneIndexes(PIPELINE, count, of_index, Path(folder))
            windows = LaneWindows(entity, 0, chain([]), of_windows, count, PLENTY)
            for batch in filter(len, batches):
                windows.make(indexes.admit(arrivals(batch))[0])
                if not at_once:
                    indexes.keep()
                    windows.keep()
            indexes.keep()
            windows.keep()
            indexes.close()
        kept.append([unexpired(stores["windows", lane], entity, batches) for lane in range(count)])
        for lane in range(count):
            index = KeptIndex.of(stores["index", lane], lane, count, WORDS)
            if index is not None:
                first = int(index.book[FIRST])
                live = sorted(each for each in index.labels if each[0] >= first)
                kept[-1].append((index.book.tolist(), index.ids().tolist(), live, index.waiting))
    assert kept[0] == kept[1]


@given(transactions(), delays, cuts, lanes, st.integers(0, 6), st.booleans())
def test_lanes_of_a_pipeline_with_other_features_say_what_its_own_had_said(
    rows: list[Row], late: list[int], edges: list[int], count: int, at: int, small: bool
) -> None:
    batches = pieces(with_labels(rows, late), edges)
    said, _, _ = of_one_process(batches, NEW)
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(count, Path(folder), most_bytes=0 if small else PLENTY)
        before: set[str] = set()
        for place, batch in enumerate(batches):
            if place == min(at, len(batches) - 1):
                before = set(by_id(engine.said))
                engine.restart(NEW)
            engine.take(batch)
        engine.advance(2**62)
        after = {key: value for key, value in by_id(engine.said).items() if key not in before}
        assert after == {key: value for key, value in said.items() if key not in before}


def test_a_store_that_does_not_say_what_it_is_of_and_one_of_other_events_are_refused() -> None:
    (plan, *_), store = PIPELINE.plan().entities, MemoryStore()
    store.put_all({b"0123456789abcdef": b""})
    with pytest.raises(StateError, match="lane 3: was written by a release that did not say of"):
        settle_windows(store, plan, PIPELINE, "lane 3", warm_up=True)
    with pytest.raises(StateError, match="lane 3: was written by a release that did not say of"):
        settle_index(store, PIPELINE, "lane 3")
    for settle in (partial(settle_windows, plan=plan, warm_up=True), settle_index):
        store = MemoryStore()
        assert not settle(store, pipeline=PIPELINE, where="here")
        other = replace(PIPELINE, lateness="1h")
        with pytest.raises(StateError, match="here: is of events whose lateness is '12h'"):
            settle(store, pipeline=other, where="here")
    one = replace(PIPELINE, features={"count": PIPELINE.features["count"]})
    with pytest.raises(StateError, match="features of customer, terminal, the pipeline of custom"):
        settle_index(store, one, "here")


def test_a_lane_whose_keys_have_all_been_forgotten_still_knows_that_there_were_some() -> None:
    plan, store = PIPELINE.plan().entities[0], MemoryStore()
    assert not settle_windows(store, plan, PIPELINE, "here", warm_up=False)
    longer = replace(PIPELINE, features={**NEW.features, "long": CUSTOMER.count("20d")})
    entity = longer.plan().entities[0]
    assert len(settle_windows(deepcopy(store), entity, longer, "here", warm_up=False)) == 1
    swept(store, 300 * DAY)
    with pytest.raises(StateError, match="they reach back 228h, 492h are wanted"):
        settle_windows(store, entity, longer, "here", warm_up=False)


@given(transactions(), delays, lanes, st.randoms(use_true_random=False))
def test_what_lanes_tell_is_learnt_from_once_whatever_predictions_come_first(
    rows: list[Row], late: list[int], count: int, chance: Random
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(count, Path(folder))
        engine.take(batch_of(with_labels(rows, late)))
        engine.advance(2**62)
        learn_once(engine.said, engine.outcomes, Path(folder), chance)
