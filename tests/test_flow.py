"""The invariants of the flow: batch, order, restart, time, ledger. Bits are compared."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.definition import Pipeline
from jobs.ledger import balances
from jobs.pipeline import Flow
from jobs.state import FlowState
from operators.admission import COUNTS
from operators.drift.response import Told
from streams.batch import EVENT, Batch
from streams.order import Sorter
from streams.schema import DAY, duration_us
from tests.batches import (
    HOUR,
    PIPELINE,
    Row,
    batch_of,
    cuts,
    delays,
    pieces,
    transactions,
    with_labels,
)


@dataclass
class Seen:
    """What a flow said: by id the bits of features, score and version; and what it learnt."""

    said: dict[int, bytes] = field(default_factory=dict)
    learnt: dict[str, bytes] = field(default_factory=dict)
    alarms: list[Told] = field(default_factory=list)
    flow: Flow | None = None

    def take(self, flow: Flow, batch: Batch) -> None:
        scored = flow.process(batch)
        self.alarms += scored.drift
        for place, row in enumerate(scored.rows):
            bits = scored.features[place].tobytes() + scored.scores[place].tobytes()
            ident = int(batch.idents[row, 0, 1])
            assert ident not in self.said
            self.said[ident] = (
                bits + scored.version[place].tobytes() + scored.review[place].tobytes()
            )

    def close(self, flow: Flow) -> Seen:
        self.learnt = {name: values.tobytes() for name, values in flow.lineup.state().items()}
        self.flow = flow
        return self


def run(batches: list[Batch], pipeline: Pipeline = PIPELINE) -> Seen:
    """A flow from nothing over these batches."""
    with tempfile.TemporaryDirectory() as folder:
        flow, seen = Flow(pipeline, Path(folder)), Seen()
        for batch in batches:
            seen.take(flow, batch)
        return seen.close(flow)


@given(transactions(), delays, cuts)
def test_any_cut_into_batches_gives_the_same_bits(
    rows: list[Row], late: list[int], edges: list[int]
) -> None:
    stream = with_labels(rows, late)
    whole, cut = run([batch_of(stream)]), run(pieces(stream, edges))
    assert whole.said == cut.said
    assert whole.learnt == cut.learnt
    assert whole.alarms == cut.alarms


@given(transactions(), delays, cuts, st.randoms(use_true_random=False))
def test_in_strict_order_every_arrival_within_the_lateness_gives_the_sorted_predictions(
    rows: list[Row], late: list[int], edges: list[int], random: Any
) -> None:
    stream = with_labels(rows, late)
    lateness = duration_us(PIPELINE.lateness)
    arrived = sorted(stream, key=lambda row: row.time + random.random() * lateness * 0.99)
    sorter = Sorter(lateness)
    batches = [sorter.push(batch)[0] for batch in pieces(arrived, edges)]
    held = sorter.flush()
    ordered, straight = run([*batches, *([] if held is None else [held])]), run([batch_of(stream)])
    assert ordered.said == straight.said
    assert ordered.alarms == straight.alarms


@given(transactions(), st.randoms(use_true_random=False))
def test_an_event_that_is_not_late_and_that_nothing_older_follows_is_as_in_the_sorted_stream(
    rows: list[Row], random: Any
) -> None:
    arrived = list(rows)
    random.shuffle(arrived)
    features, lateness = 8 * len(PIPELINE.features), duration_us(PIPELINE.lateness)
    shuffled, ordered = run([batch_of(arrived)]), run([batch_of(with_labels(rows, []))])
    for place, row in enumerate(arrived):
        newest = max(earlier.time for earlier in arrived[: place + 1])
        complete = all(later.place > row.place for later in arrived[place + 1 :])
        if complete and row.time >= newest - lateness:
            assert shuffled.said[row.ident][:features] == ordered.said[row.ident][:features]


@given(transactions(), delays, cuts, st.integers(0, 6))
def test_a_restart_anywhere_gives_what_the_run_without_it_would_have_given(
    rows: list[Row], late: list[int], edges: list[int], stop: int
) -> None:
    batches = pieces(with_labels(rows, late), edges)
    whole = run(batches)
    with tempfile.TemporaryDirectory() as name:
        folder, seen = Path(name), Seen()
        first = Flow(PIPELINE, folder)
        state = FlowState(first, folder / "snapshots")
        for batch in batches[: stop + 1]:
            seen.take(first, batch)
        state.commit({}, {})
        for batch in batches[stop + 1 :]:
            first.process(batch)
        state.close()
        second = Flow(PIPELINE, folder)
        FlowState(second, folder / "snapshots").restore()
        for batch in batches[stop + 1 :]:
            seen.take(second, batch)
        seen.close(second)
    assert seen.said == whole.said
    assert seen.learnt == whole.learnt
    assert seen.alarms == whole.alarms


@given(transactions(), delays, st.integers(0, 14 * 24), st.integers(1, 1000))
def test_changing_the_future_changes_no_past_prediction(
    rows: list[Row], late: list[int], hours: int, other: int
) -> None:
    now = 200 * DAY + hours * HOUR
    stream = with_labels(rows, late)
    changed = [
        row
        if row.time <= now
        else replace(row, fraud=not row.fraud)
        if row.fraud is not None
        else replace(row, amount=row.amount + other, terminal=0)
        for row in stream
    ]
    before, after = run([batch_of(stream)]), run([batch_of(changed)])
    for row in rows:
        if row.time <= now:
            assert before.said[row.ident] == after.said[row.ident]


@given(transactions(), delays, st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=8))
def test_everything_that_comes_in_is_in_the_ledger(
    rows: list[Row], late: list[int], again: list[tuple[int, bool]]
) -> None:
    stream = with_labels(rows, late)
    copies = [stream[place % len(stream)] for place, _ in again]
    copies = [
        replace(row, amount=row.amount + 1) if other and row.fraud is None else row
        for row, (_, other) in zip(copies, again, strict=True)
    ]
    strangers = [Row(2_000_000 + place, 210 * DAY, fraud=True) for place in range(len(again))]
    batch = batch_of([*stream, *copies, *strangers])
    flow = run([batch]).flow
    assert flow is not None
    counts = dict(zip(COUNTS, flow.counts.tolist(), strict=True))
    events = int(np.count_nonzero(batch.kind == EVENT))
    taken = Counter(events=events, labels=len(batch) - events)
    for line in balances(counts, taken, {}, 0):
        assert line.missing == 0, line
        assert min(line.parts.values()) >= 0, line


@given(transactions(), delays)
def test_every_score_is_its_version_applied_to_its_logged_features(
    rows: list[Row], late: list[int]
) -> None:
    stream = with_labels(rows, late)
    with tempfile.TemporaryDirectory() as folder:
        flow = Flow(PIPELINE, Path(folder))
        versions = {}
        for batch in pieces(stream, list(range(len(stream)))):
            versions[flow.lineup.sequence] = flow.lineup.champion
            scored = flow.process(batch)
            versions[flow.lineup.sequence] = flow.lineup.champion
            for place, sequence in enumerate(scored.version.tolist()):
                if sequence in versions:
                    again = versions[sequence].predict_many(scored.features[place : place + 1])
                    assert again.tobytes() == scored.scores[place, :1].tobytes()


def test_a_label_teaches_only_after_it_is_known() -> None:
    rows = [Row(i, 200 * DAY + i * HOUR, 0, 0, 50_000 if i % 2 else 100) for i in range(120)]
    delay = 48
    stream = with_labels(rows, [delay if row.ident % 2 else 0 for row in rows])
    told = run([batch_of(stream)])
    untold = run([batch_of(with_labels(rows, []))])
    first = min(row.ident for row in rows if told.said[row.ident] != untold.said[row.ident])
    assert first >= delay
