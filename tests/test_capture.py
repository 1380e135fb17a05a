"""What is captured is the moment at which it began, whatever happens until it is all taken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from operators.features import Entity
from operators.featurize import Features
from operators.keyrecords import PREFIX
from operators.plan import compile_plan
from operators.ring import HEAD, STRIDE
from streams.schema import DAY, Event, Label, Number

EVENT = Event("payment", ("card",), Label("fraud", maturity="1d"), (Number("amount", scale=2),))
PLAN = compile_plan(EVENT, {"mean": Entity("card").mean("amount", "3d")}, lateness_us=DAY, cap=20)
BEGIN = 400 * DAY
HOUR = DAY // 24


class Row(NamedTuple):
    """An event of a card, or a label on the first of its events."""

    card: int
    hour: int
    labels: bool = False


# Days that go by have keys forgotten and their slots used again, and records shrink.
ROWS = st.lists(st.builds(Row, st.integers(0, 30), st.integers(0, 2), st.booleans()), max_size=40)
BATCHES = st.lists(st.tuples(ROWS, st.integers(0, 4)), max_size=8)


class Windows:
    """Windows of a card, fed with rows."""

    def __init__(self) -> None:
        self.features = Features(PLAN, EVENT.keys)
        self.entity = self.features.entities[0]
        self._days = self._next = 0

    def feed(self, rows: list[Row], days: int) -> None:
        """Carry a batch through, so many days after the one before."""
        n, self._days = len(rows), self._days + days
        keys = np.zeros((n, 1, 2), np.int64)
        keys[:, 0, 1] = [row.card for row in rows]
        labels = np.array([row.labels for row in rows], np.bool_)
        when = BEGIN + self._days * DAY + np.array([row.hour for row in rows], np.int64) * HOUR
        ident = np.arange(self._next, self._next + n)
        self._next += n
        batch: Any = SimpleNamespace(
            numbers=ident[:, None] * 7 + 1, categories=np.empty((n, 0), np.int64)
        )
        lines = np.where(labels, -1, np.cumsum(~labels) - 1)
        values = np.where(labels, 1, -1).astype(np.int8)
        self.features.update(batch, lines, when, keys, ident, when, values, int((~labels).sum()))

    def records(self) -> dict[int, bytes]:
        """The records of all cards."""
        return by_key(self.entity.capture(whole=True).pieces())


def by_key(pieces: list[npt.NDArray[np.int64]]) -> dict[int, bytes]:
    """Packed records by their key, each there once."""
    packed, found, at = np.concatenate(pieces), dict[int, bytes](), 0
    own = PREFIX + int(PLAN.entities[0].shape[HEAD]) - 2
    while at < len(packed):
        end = at + own + int(packed[at + 2]) * int(PLAN.entities[0].shape[STRIDE])
        assert int(packed[at + 1]) not in found
        found[int(packed[at + 1])] = packed[at:end].tobytes()
        at = end
    return found


@given(BATCHES, BATCHES, st.lists(st.integers(0, 300), min_size=8, max_size=8))
def test_a_capture_is_its_moment_while_batches_go_on(
    before: list[tuple[list[Row], int]], after: list[tuple[list[Row], int]], words: list[int]
) -> None:
    windows, twin = Windows(), Windows()
    for batch in before:
        windows.feed(*batch)
        twin.feed(*batch)
    capture = windows.entity.capture(whole=True)
    for batch, most in zip(after, words, strict=False):
        windows.feed(*batch)
        capture.proceed(most)
    assert by_key(capture.pieces()) == twin.records()


@given(BATCHES, BATCHES, BATCHES, st.booleans())
def test_what_changed_and_all_before_make_up_the_moment(
    first: list[tuple[list[Row], int]],
    second: list[tuple[list[Row], int]],
    third: list[tuple[list[Row], int]],
    given_up: bool,
) -> None:
    windows, twin = Windows(), Windows()
    for batch in first:
        windows.feed(*batch)
        twin.feed(*batch)
    base = by_key(windows.entity.capture(whole=True).pieces())
    for batch in second:
        windows.feed(*batch)
        twin.feed(*batch)
    if given_up:
        lost = windows.entity.capture(whole=False)
        lost.proceed(50)
        lost.abandon()
    changed = windows.entity.capture(whole=False)
    for batch in third:
        windows.feed(*batch)
        changed.proceed(20)
    made, wanted = base | by_key(changed.pieces()), twin.records()
    # A key that was forgotten since stays in the base, where nothing can see it.
    assert {key: made[key] for key in wanted} == wanted


def test_records_larger_than_a_piece_has_room_for_go_into_the_next() -> None:
    windows, twin = Windows(), Windows()
    for day in range(40):
        rows = [Row(card, 0) for card in range(3000)]
        windows.feed(rows, day % 2)
        twin.feed(rows, day % 2)
    capture = windows.entity.capture(whole=True)
    windows.feed([Row(card, 1) for card in range(0, 3000, 7)], 0)
    pieces = capture.pieces()
    assert len(pieces) > 1
    assert by_key(pieces) == twin.records()
