"""Index: the first stage of the flow. It knows every live id and what is known of its label.

Row by row, in one kernel: it finds duplicates, appends new events to the log of ids, gives labels
the keys and the time of the event they speak of, lets labels wait that came before their event, and
decides what is learnt and when. Its clock is the largest time of any row so far, so no cut of the
input into batches, and no budget, changes what comes out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from operators.admission import (
    CLOCK,
    COUNTS,
    CURSOR,
    EVENT_IDENT,
    HEAD,
    HELD,
    IS_LATE,
    KEYS,
    KNOWN,
    MATURITY,
    NEWEST,
    ROW,
    STATUS,
    TAIL,
    TIME,
    VALUE,
    WAITING,
    WHEN,
    Admission,
    Examples,
    admit,
    advance,
    look_up,
)
from operators.idtable import (
    FIRST,
    NEXT,
    SHIFT,
    SPILLED,
    Rows,
    add_rows,
    shift_for,
    slots_for,
)
from operators.labels import ADMITTED, held, slots_of, table_of
from streams.batch import LABEL, Batch
from streams.errors import ConfigError, StateError

Int64s = npt.NDArray[np.int64]

FOREVER = 2**62
"""An `until_us` that no row reaches."""

_SAVED = {
    "next_row": NEXT,
    "first_row": FIRST,
    "cursor": CURSOR,
    "clock_us": CLOCK,
    "newest_us": NEWEST,
}
_PLACES = np.array(list(_SAVED.values()))
_REBUILT_AT_ONCE = 1 << 16
_ADMITTED_AT_ONCE = 1 << 11
_LOOKED_UP = 1 << 7
"""Labels and duplicates after which mapped ids are let go, asked every so many rows: each maps the
ids of its event's block, 64 KB."""
_LEAST_QUEUE = 64
_LEAST_ROOM = 1024
_NO_LABELS = np.zeros((0, 3), np.int64)


class Index:
    """Ids of the last `retention_us`, the labels known of them, and the labels that wait for them.

    `ids` is the log: one row of 4 + 2K words an admitted event, never changed once written; an
    event's number there is its row from now on. An id and what is known of its label are forgotten,
    at most four a row processed, when its event's time is before the clock less the retention; a
    label that waits, when its own is. Memory beside the log: 5 to 11 bytes an id and 36 to 72 a
    label. A table that is full is rebuilt at twice the size from the log.

    Raises ConfigError for a retention below the maturity or rows of another width.

    >>> from operators.idtable import ArrayRows
    >>> index = Index(keys=1, maturity_us=10, retention_us=30, lateness_us=5, ids=ArrayRows(6))
    >>> index.pending
    0
    """

    def __init__(
        self, keys: int, maturity_us: int, retention_us: int, lateness_us: int, ids: Rows
    ) -> None:
        if retention_us < maturity_us:
            raise ConfigError(
                f"index: wanted a retention of at least the maturity of {maturity_us} us, "
                f"got {retention_us} us; lengthen the retention or shorten the maturity"
            )
        if ids.view.shape[1] != KEYS + 2 * keys:
            raise ConfigError(
                f"index: wanted rows of {KEYS + 2 * keys} words for {keys} keys, "
                f"got {ids.view.shape[1]}; open the log with that width"
            )
        self._keys = keys
        self._ids = ids
        self._book = np.zeros(14, np.int64)
        self._book[[CLOCK, NEWEST]] = -FOREVER
        self._book[MATURITY:] = maturity_us, retention_us, lateness_us
        self._states = table_of(_NO_LABELS, 0)
        self._waiting = table_of(_NO_LABELS, 0)
        self._queue = np.zeros((_LEAST_QUEUE, 2), np.int64)
        self._spill = np.zeros(0, np.int64)
        self._room = 0
        self._rebuild(0)

    @property
    def first_row(self) -> int:
        """The first row that is still remembered: what is before it will not be asked for again."""
        return int(self._book[FIRST])

    @property
    def next_row(self) -> int:
        """The row of the next event to be admitted."""
        return int(self._book[NEXT])

    @property
    def clock_us(self) -> int:
        """The largest time of any row so far."""
        return int(self._book[CLOCK])

    @property
    def waiting(self) -> int:
        """Labels that wait for their event, several for one id counted once."""
        return int(self._book[WAITING])

    @property
    def pending(self) -> int:
        """Events whose turn to mature has not come, those that have a label among them."""
        return int(self._book[NEXT] - self._book[CURSOR])

    def admit(
        self,
        batch: Batch,
        start: int,
        budget: int,
        until_us: int = FOREVER,
        end: int | None = None,
    ) -> Admission:
        """Process the rows of a batch from `start` until one of three ends.

        They are `end`, by default that of the batch; the first row whose time is `until_us` or
        later; and the `budget`-th example, at least 1, be it among the negatives that come before a
        row, which is then not yet processed. The next call goes on at `stop`.
        """
        if budget < 1:
            raise ValueError(f"index: wanted a budget of at least 1 example, got {budget}")
        last = len(batch) if end is None else end
        rows = last - start
        self._make_room_for(batch, start, last)
        most = min(budget, self.pending + 2 * rows)
        keys = np.empty((rows, self._keys, 2), np.int64)
        longs, shorts = np.empty((4, rows), np.int64), np.empty((3, rows), np.uint8)
        learnt, marks = np.empty((3, most), np.int64), np.empty((2, most), np.uint8)
        counts = np.zeros(len(COUNTS), np.int64)
        stop, e, released = start, 0, 0
        while stop < last:
            piece = min(stop + _ADMITTED_AT_ONCE, last)
            stop, e = admit(
                batch.kind,
                batch.time,
                batch.idents,
                batch.numbers,
                batch.categories,
                batch.label,
                start,
                stop,
                piece,
                until_us,
                e,
                budget,
                self._ids.view,
                self._slots,
                self._spill,
                self._states,
                self._waiting,
                self._queue,
                self._book,
                counts,
                keys,
                longs,
                shorts,
                learnt,
                marks,
            )
            if stop < piece or e == budget:
                break
            looked_up = stop - start - int(counts[ADMITTED])
            if stop < last and looked_up - released >= _LOOKED_UP:
                self._ids.release()
                released = looked_up
        m = stop - start
        if m < rows:
            keys, longs, shorts = keys[:m], longs[:, :m], shorts[:, :m]
        return Admission(
            stop,
            longs[ROW],
            shorts[STATUS],
            shorts[IS_LATE].view(np.bool_),
            keys,
            longs[WHEN],
            longs[EVENT_IDENT],
            longs[KNOWN],
            shorts[VALUE].view(np.int8),
            _examples(learnt, marks, e),
            counts,
        )

    def advance(self, time_us: int, budget: int) -> tuple[Examples, Int64s]:
        """Let time have come this far without a row: what matures, and what the ledger counts.

        If that are `budget` examples, at least 1, there may be more: call again.
        """
        most = min(budget, max(self.pending, 1))
        learnt, marks = np.empty((3, most), np.int64), np.empty((2, most), np.uint8)
        counts = np.zeros(len(COUNTS), np.int64)
        e = advance(time_us, most, self._ids.view, self._states, self._book, counts, learnt, marks)
        return _examples(learnt, marks, e), counts

    @property
    def due_us(self) -> int | None:
        """When the next event matures, None if none is pending."""
        if not self.pending:
            return None
        return int(self._ids.view[self._book[CURSOR], TIME] + self._book[MATURITY])

    def book(self) -> dict[str, int]:
        """The counters of `state()`, by name."""
        return dict(zip(_SAVED, self.counters.tolist(), strict=True))

    @property
    def counters(self) -> Int64s:
        """(5,) next row, first row, cursor, clock and newest time: see `state()`."""
        counters: Int64s = self._book[_PLACES]
        return counters

    def held(self, idents: Int64s) -> Int64s:
        """What is known of ids (n, 2): rows (log row or -1, word of its label, word that waits).

        Words are those of `operators.labels`, 0 where there is none.
        """
        out = np.empty((len(idents), 3), np.int64)
        look_up(
            np.ascontiguousarray(idents), self._ids.view, self._slots, self._spill, self._states,
            self._waiting, self._book, out,
        )  # fmt: skip
        return out

    def state(self) -> dict[str, Int64s | int]:
        """All that is not in the log; the same for every way the same rows were cut."""
        queued = np.arange(self._book[HEAD], self._book[TAIL]) % len(self._queue)
        return self.book() | {
            "labels": held(self._states),
            "waiting": held(self._waiting),
            "queue": self._queue[queued],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state()`, with the log as it was then or longer.

        The table is rebuilt from the log, so a crash cannot have left it inconsistent. Raises
        StateError when the log is too short.
        """
        if len(self._ids.view) < state["next_row"]:
            raise StateError(
                f"index: wanted a log of {state['next_row']} ids, got {len(self._ids.view)}; "
                "restore the log that belongs to this snapshot, or start anew"
            )
        for name, place in _SAVED.items():
            self._book[place] = state[name]
        labels, waiting, queue = state["labels"], state["waiting"], state["queue"]
        self._book[[HELD, WAITING]] = len(labels), len(waiting)
        self._book[[HEAD, TAIL]] = 0, len(queue)
        self._states = table_of(labels, len(labels))
        self._waiting = table_of(waiting, len(waiting))
        self._queue = np.zeros((_LEAST_QUEUE + len(queue), 2), np.int64)
        self._queue[: len(queue)] = queue
        self._room = 0
        self._rebuild(0)

    def _make_room_for(self, batch: Batch, start: int, end: int) -> None:
        """Make room for a long batch as it is, for short ones once in a while."""
        rows = end - start
        if rows > _LEAST_ROOM:
            labels = int(np.count_nonzero(batch.kind[start:end] == LABEL))
            self._make_room(rows - labels, labels)
            self._room = 0
        else:
            if rows > self._room:
                self._make_room(_LEAST_ROOM, _LEAST_ROOM)
                self._room = _LEAST_ROOM
            self._room -= rows

    def _make_room(self, events: int, labels: int) -> None:
        """Grow the log and the tables so that this many more rows fit."""
        book = self._book
        self._ids.reserve(self.next_row + events)
        if slots_for(self.next_row - self.first_row + events) > len(self._slots):
            self._rebuild(events)
        self._make_spill_room(events)
        room = int(book[HELD]) + labels + min(events, self.waiting)
        if slots_of(room) > len(self._states):
            self._states = table_of(held(self._states), room)
        if slots_of(self.waiting + labels) > len(self._waiting):
            self._waiting = table_of(held(self._waiting), self.waiting + labels)
        queued = int(book[TAIL] - book[HEAD])
        if queued + labels > len(self._queue):
            order = np.arange(book[HEAD], book[TAIL])
            grown = np.zeros((2 * (queued + labels), 2), np.int64)
            grown[order % len(grown)] = self._queue[order % len(self._queue)]
            self._queue = grown

    def _rebuild(self, events: int) -> None:
        """Enter the live rows into a new table that has room for this many more."""
        slots = slots_for(self.next_row - self.first_row + events)
        self._slots = np.zeros(0, np.uint32)
        self._slots = np.zeros(slots, np.uint32)
        self._book[SHIFT] = shift_for(slots)
        self._book[SPILLED] = 0
        for start in range(self.first_row, self.next_row, _REBUILT_AT_ONCE):
            stop = min(start + _REBUILT_AT_ONCE, self.next_row)
            self._make_spill_room(stop - start)
            add_rows(self._slots, self._spill, self._ids.view, self._book, start, stop)
            self._ids.release()

    def _make_spill_room(self, rows: int) -> None:
        spilled = int(self._book[SPILLED])
        if spilled + rows > len(self._spill):
            grown = np.empty(2 * (spilled + rows), np.int64)
            grown[:spilled] = self._spill[:spilled]
            self._spill = grown


def _examples(learnt: Int64s, marks: npt.NDArray[np.uint8], count: int) -> Examples:
    """The first examples of those that a kernel has written."""
    return Examples(
        learnt[0, :count],
        marks[0, :count].view(np.int8),
        learnt[1, :count],
        marks[1, :count],
        learnt[2, :count],
    )
