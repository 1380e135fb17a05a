"""The index decides row by row, however its input is cut, as a page of plain Python does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.admission import COUNTS, Admission
from operators.idtable import ArrayRows
from operators.index import FOREVER, Index
from operators.labels import (
    ADMITTED,
    BY_LABEL,
    BY_LATE_LABEL,
    BY_MATURITY,
    BY_REVERSAL,
    CONFLICTING,
    DUPLICATE,
    LABEL_CONTRADICTING,
    LABEL_DUPLICATE,
    LABEL_LATE,
    LABEL_MATCHED,
    LABEL_REVERSED,
    LABEL_SUPERSEDED,
    LABEL_WAITING,
)
from streams.batch import EVENT, LABEL, UNKNOWN, Batch
from streams.errors import ConfigError, StateError

MATURITY, RETENTION, LATENESS = 20, 30, 5
UNLIMITED = 2**40


@dataclass(frozen=True)
class Row:
    """An event when `label` is None; its key and amount follow from `content`."""

    time: int
    id: int
    label: int | None = None
    content: int = 0


def batch_of(rows: list[Row]) -> Batch:
    """The rows as columns: one key, one number, one category."""
    n = len(rows)
    idents = np.zeros((n, 2, 2), np.int64)
    idents[:, 0, 1] = [row.id for row in rows]
    idents[:, 1, 1] = [0 if row.label is not None else 100 + row.content for row in rows]
    content = np.array([[row.content] for row in rows], np.int64).reshape(n, 1)
    return Batch(
        kind=np.array([EVENT if row.label is None else LABEL for row in rows], np.uint8),
        time=np.array([row.time for row in rows], np.int64),
        idents=idents,
        numbers=content,
        categories=np.zeros((n, 1), np.int64),
        label=np.array([UNKNOWN if row.label is None else row.label for row in rows], np.int8),
        received=np.zeros(n, np.int64),
        partition=np.zeros(n, np.int32),
        offset=np.arange(n, dtype=np.int64),
        texts=(pa.array([""] * n, pa.large_string()),) * 2,
    )


def new_index(retention_us: int = RETENTION) -> Index:
    return Index(1, MATURITY, retention_us, LATENESS, ArrayRows(6))


@dataclass
class Plain:
    """The same rules in plain Python: what the kernel must do."""

    retention: int = RETENTION
    clock: int = -FOREVER
    newest: int = -FOREVER
    first: int = 0
    cursor: int = 0
    log: list[Row] = field(default_factory=list)
    alive: dict[int, int] = field(default_factory=dict)
    labels: dict[int, tuple[int, int]] = field(default_factory=dict)
    waiting: dict[int, tuple[int, int]] = field(default_factory=dict)
    queue: list[int] = field(default_factory=list)
    examples: list[tuple[int, int, int, int]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))

    def take(self, row: Row) -> tuple[Any, ...]:
        """Row, status, late, key, when, known, value."""
        self.clock = max(self.clock, row.time)
        while self.cursor < len(self.log) and self.matures(self.cursor) < self.clock:
            if self.cursor not in self.labels:
                self.examples.append((self.cursor, 0, self.matures(self.cursor), BY_MATURITY))
                self.counts["matured"] += 1
            self.cursor += 1
        self.forget()
        outcome = self.take_event(row) if row.label is None else self.take_label(row, row.label)
        self.counts[COUNTS[outcome[1]]] += 1
        return outcome

    def matures(self, number: int) -> int:
        return self.log[number].time + MATURITY

    def forget(self) -> None:
        limit = self.clock - self.retention
        for _ in range(4):
            if self.first < len(self.log) and self.log[self.first].time < limit:
                del self.alive[self.log[self.first].id]
                self.labels.pop(self.first, None)
                self.first += 1
                self.counts["expired"] += 1
        left = 4
        while left and self.queue:
            if self.queue[0] in self.waiting:
                if self.waiting[self.queue[0]][0] >= limit:
                    break
                del self.waiting[self.queue[0]]
                self.counts["waiting_expired"] += 1
                left -= 1
            self.queue.pop(0)

    def take_event(self, row: Row) -> tuple[Any, ...]:
        late = row.time < self.newest - LATENESS
        self.newest = max(self.newest, row.time)
        if row.id in self.alive:
            same = self.log[self.alive[row.id]] == row
            status = DUPLICATE if same else CONFLICTING
            return -1, status, late, 100 + row.content, row.time, 0, -1
        number = len(self.log)
        self.log.append(row)
        self.alive[row.id] = number
        self.counts["late"] += late
        known, value = 0, -1
        if row.id in self.waiting:
            known, value = self.labels[number] = self.waiting.pop(row.id)
            self.counts["waiting_matched"] += 1
            self.examples.append((number, value, known, BY_LABEL))
        return number, ADMITTED, late, 100 + row.content, row.time, known, value

    def take_label(self, row: Row, value: int) -> tuple[Any, ...]:
        label = (row.time, value)
        number = self.alive.get(row.id)
        if number is None:
            before = self.waiting.get(row.id)
            self.waiting[row.id] = max(before or label, label)
            if before is None:
                self.queue.append(row.id)
                return -1, LABEL_WAITING, False, 0, 0, 0, -1
            return -1, against(before, label), False, 0, 0, 0, -1
        before = self.labels.get(number)
        holds = self.labels[number] = max(before or label, label)
        if before is None and number >= self.cursor:
            status = LABEL_MATCHED
            self.examples.append((number, value, row.time, BY_LABEL))
        elif before is None:
            status = LABEL_LATE
            if value:
                self.examples.append((number, value, row.time, BY_LATE_LABEL))
        else:
            status = against(before, label)
            if holds[1] != before[1]:
                self.examples.append((number, value, row.time, BY_REVERSAL))
        event = self.log[number]
        return -1, status, False, 100 + event.content, event.time, row.time, value


def against(before: tuple[int, int], label: tuple[int, int]) -> int:
    """What a label is that meets another."""
    if before[1] == label[1]:
        return LABEL_DUPLICATE
    if before[0] == label[0]:
        return LABEL_CONTRADICTING
    return LABEL_REVERSED if label > before else LABEL_SUPERSEDED


@dataclass
class Seen:
    """All that an index has said, as the plain twin says it."""

    outcomes: list[tuple[Any, ...]] = field(default_factory=list)
    examples: list[tuple[int, int, int, int]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))

    def add(self, said: Admission) -> None:
        events = (said.row, said.status, said.late, said.keys[:, 0, 1])
        columns = (*events, said.when, said.known, said.value)
        self.outcomes += zip(*(column.tolist() for column in columns), strict=True)
        e = said.examples
        learnt = (e.row.tolist(), e.y.tolist(), e.known_us.tolist(), e.cause.tolist())
        self.examples += zip(*learnt, strict=True)
        for name, count in zip(COUNTS, said.counts.tolist(), strict=True):
            self.counts[name] += count


def run(index: Index, rows: list[Row], cuts: Iterator[tuple[int, int, int]]) -> Seen:
    """Feed the rows, cut by (batch length, budget, steps of `until_us`)."""
    seen, at, until = Seen(), 0, 0
    while at < len(rows):
        length, budget, step = next(cuts)
        batch = batch_of(rows[at : at + length])
        start = 0
        while start < len(batch):
            said = index.admit(batch, start, budget, until)
            seen.add(said)
            if len(said.examples) < budget and said.stop < len(batch):
                assert batch.time[said.stop] >= until
                until += step
            start = said.stop
        at += length
    return seen


def whole(rows: list[Row], retention: int = RETENTION) -> Seen:
    """What an index says that takes all rows at once."""
    return run(new_index(retention), rows, iter([(len(rows), UNLIMITED, FOREVER)]))


events = st.builds(
    Row, time=st.integers(0, 90), id=st.integers(0, 12), content=st.sampled_from([0, 0, 0, 1])
)
labels = st.builds(Row, time=st.integers(0, 90), id=st.integers(0, 12), label=st.integers(0, 1))
disordered = st.integers(1, 60).flatmap(
    lambda size: st.lists(events | labels, min_size=size, max_size=size)
)
nearly_sorted = disordered.map(lambda rows: sorted(rows, key=lambda row: row.time // 10))
streams = disordered | nearly_sorted
cuts = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 40)), min_size=1, max_size=9
)


def endless(items: list[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    while True:
        yield from items


@given(streams, st.sampled_from([MATURITY, RETENTION, 1000]))
def test_the_kernel_says_what_plain_python_says(rows: list[Row], retention: int) -> None:
    plain = Plain(retention)
    outcomes = [plain.take(row) for row in rows]
    seen = whole(rows, retention)
    assert seen.outcomes == outcomes
    assert seen.examples == plain.examples
    assert seen.counts == plain.counts


@given(streams, cuts)
def test_no_cut_and_no_budget_changes_what_comes_out(
    rows: list[Row], cut: list[tuple[int, int, int]]
) -> None:
    assert run(new_index(), rows, endless(cut)) == whole(rows)


@given(streams, cuts, st.integers(0, 60))
def test_a_restored_index_goes_on_as_if_nothing_had_happened(
    rows: list[Row], cut: list[tuple[int, int, int]], place: int
) -> None:
    log = ArrayRows(6)
    first = Index(1, MATURITY, RETENTION, LATENESS, log)
    before = run(first, rows[:place], endless(cut))
    state = first.state()
    run(first, rows[place:], endless(cut))  # what is written after a snapshot does not matter
    second = Index(1, MATURITY, RETENTION, LATENESS, log)
    second.restore(state)
    assert same(second.state(), state)
    after = run(second, rows[place:], endless(cut))
    expected = whole(rows)
    assert before.outcomes + after.outcomes == expected.outcomes
    assert before.examples + after.examples == expected.examples
    assert same(first.state(), second.state())


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.array_equal(value, other[name]) for name, value in one.items())


@given(
    st.lists(events, min_size=2, max_size=8, unique_by=lambda row: row.id),
    st.lists(labels, min_size=4, max_size=30),
    st.randoms(use_true_random=False),
)
def test_what_is_known_in_the_end_does_not_depend_on_the_order_of_arrival(
    some_events: list[Row], some_labels: list[Row], random: Any
) -> None:
    rows = [*some_events, *some_labels]
    random.shuffle(rows)
    index = new_index(1000)
    index.admit(batch_of(rows), 0, UNLIMITED)
    known: dict[int, tuple[int, int]] = {}
    for row in some_labels:
        known[row.id] = max(known.get(row.id, (0, 0)), (row.time, int(row.label or 0)))
    ids = [row.id for row in rows if row.label is None]
    words = {name: time << 2 | value + 1 for name, (time, value) in known.items()}
    state: dict[str, Any] = index.state()
    assert {ids[row]: word for word, row, _ in state["labels"].tolist()} == {
        name: word for name, word in words.items() if name in ids
    }
    assert {name: word for word, _, name in state["waiting"].tolist()} == {
        name: word for name, word in words.items() if name not in ids
    }


@given(streams)
def test_the_ledger_adds_up(rows: list[Row]) -> None:
    index = new_index()
    seen = run(index, rows, iter([(len(rows), UNLIMITED, FOREVER)]))
    count = seen.counts
    assert sum(list(count.values())[:3]) == sum(row.label is None for row in rows)
    assert sum(list(count.values())[3:10]) == sum(row.label is not None for row in rows)
    gone = count["waiting_matched"] + count["waiting_expired"]
    assert count["labels_waiting"] == gone + index.waiting
    assert index.next_row - index.first_row == count["admitted"] - count["expired"]
    seen = whole([*rows, Row(10_000, 99, 1)])
    first = seen.counts["labels_matched"] + seen.counts["waiting_matched"]
    assert seen.counts["admitted"] == first + seen.counts["matured"]


def examples_of(*rows: Row) -> list[tuple[int, int, int, int]]:
    return whole(list(rows), 1000).examples


def test_a_label_that_becomes_known_at_maturity_beats_the_negative() -> None:
    assert examples_of(Row(0, 1), Row(MATURITY, 1, 1)) == [(0, 1, MATURITY, BY_LABEL)]


def test_a_fraud_after_its_negative_is_learnt_again() -> None:
    assert examples_of(Row(0, 1), Row(MATURITY + 1, 1, 1)) == [
        (0, 0, MATURITY, BY_MATURITY),
        (0, 1, MATURITY + 1, BY_LATE_LABEL),
    ]


def test_fraud_reversed_and_back_is_three_examples() -> None:
    learnt = examples_of(Row(0, 1), Row(1, 1, 1), Row(2, 1, 0), Row(3, 1, 1), Row(99, 2, 1))
    assert [y for _, y, _, _ in learnt] == [1, 0, 1]


def test_a_label_before_its_event_is_learnt_at_the_event() -> None:
    seen = whole([Row(5, 1, 1), Row(4, 1)])
    assert seen.outcomes[1] == (0, ADMITTED, False, 100, 4, 5, 1)
    assert seen.examples == [(0, 1, 5, BY_LABEL)]


def test_a_budget_may_end_among_the_negatives_before_a_row() -> None:
    index = new_index()
    batch = batch_of([Row(0, 1), Row(0, 2), Row(50, 3)])
    first = index.admit(batch, 0, 1)
    assert (first.stop, len(first.row), len(first.examples)) == (2, 2, 1)
    second = index.admit(batch, first.stop, 2)
    assert (second.stop, len(second.row), len(second.examples)) == (3, 1, 1)


def test_until_stops_before_the_row_and_before_what_its_time_would_mature() -> None:
    index = new_index()
    said = index.admit(batch_of([Row(0, 1), Row(50, 2)]), 0, 9, 50)
    assert (said.stop, len(said.examples), index.clock_us) == (1, 0, 0)


def test_a_long_batch_says_what_short_ones_say() -> None:
    batch = batch_of([Row(i // 100, i // 3, i % 2 if i % 3 else None) for i in range(9_000)])
    long, index = new_index().admit(batch, 0, UNLIMITED), new_index()
    short = [index.admit(batch[at : at + 500], 0, UNLIMITED) for at in range(0, 9_000, 500)]
    assert long.row.tolist() == [row for said in short for row in said.row.tolist()]
    after = [500 * i + said.examples.after for i, said in enumerate(short)]
    assert len(long.examples) > 3000
    assert np.array_equal(long.examples.after, np.concatenate(after))


def test_an_id_may_come_again_once_its_retention_has_passed() -> None:
    seen = whole([Row(0, 1), Row(RETENTION, 1, content=1), Row(RETENTION + 1, 1, content=1)])
    assert [status for _, status, *_ in seen.outcomes] == [ADMITTED, CONFLICTING, ADMITTED]


def test_thousands_of_ids_are_found_while_tables_grow_and_the_oldest_are_dropped() -> None:
    index = new_index()
    rows = [Row(i // 100, i % 50_000) for i in range(100_000)]
    rows[40_000:40_000] = [Row(400, i, 1) for i in range(37_000, 40_000)]
    seen = run(index, rows, endless([(7_000, UNLIMITED, FOREVER)]))
    assert seen.counts["admitted"] == 100_000
    assert seen.counts["labels_matched"] + seen.counts["labels_late"] == 3_000
    assert index.next_row - index.first_row == (RETENTION + 1) * 100
    assert len(index.state()["labels"]) == 0  # type: ignore[arg-type]


def test_wrong_widths_short_retentions_and_short_logs_are_refused() -> None:
    with pytest.raises(ConfigError, match="wanted rows of 8 words"):
        Index(2, MATURITY, RETENTION, LATENESS, ArrayRows(6))
    with pytest.raises(ConfigError, match="wanted a retention of at least the maturity"):
        Index(1, 2, 1, 0, ArrayRows(6))
    index = new_index()
    with pytest.raises(ValueError, match="budget of at least 1"):
        index.admit(batch_of([Row(0, 1)]), 0, 0)
    with pytest.raises(StateError, match="wanted a log of 5 ids, got 0"):
        index.restore(index.state() | {"next_row": 5})
