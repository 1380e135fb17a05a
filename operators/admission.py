"""What becomes of the rows of a batch: records, the ledger's names, and the kernel that decides.

The rules are those of `operators.labels`; the state is that of `operators.index.Index`: `book`, a
few counters; the log and the table of ids; the labels that are held; the labels that wait for their
event, and the queue in which they came.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operators.idtable import (
    AHEAD,
    FIRST,
    HI,
    LO,
    NEXT,
    add_row,
    drop_row,
    expect,
    find_row,
    spread,
)
from operators.labels import (
    ADMITTED,
    BY_LABEL,
    BY_MATURITY,
    CONFLICTING,
    DUPLICATE,
    LABEL_MATCHED,
    LABEL_WAITING,
    drop,
    find,
    put,
    settle,
)
from streams.batch import EVENT, Batch
from streams.ident import mix
from streams.jit import borrow, kernel

Int64s = npt.NDArray[np.int64]

TIME, CONTENT, KEYS = 2, 3, 4
"""Words of a row of ids after the id: event time, hash of the content, then two words a key."""

COUNTS = (
    "admitted",
    "duplicates",
    "conflicting",
    "labels_matched",
    "labels_late",
    "labels_duplicate",
    "labels_contradicting",
    "labels_reversed",
    "labels_superseded",
    "labels_waiting",
    "late",
    "waiting_matched",
    "waiting_expired",
    "matured",
    "expired",
)
"""What the ledger counts. The first three sum to the events taken, the next seven to the labels;
labels_waiting = waiting_matched + waiting_expired + those that wait now;
admitted = labels_matched + waiting_matched + matured + those without a label whose turn to mature
has not come. Of the matured, some have a late label too."""
_LATE, _WAITING_MATCHED, _WAITING_EXPIRED, _MATURED, _EXPIRED = range(10, 15)

CURSOR, CLOCK, NEWEST, HELD, WAITING, HEAD, TAIL = range(4, 11)
MATURITY, RETENTION, LATENESS = range(11, 14)
"""Places in `book` after those of the table: the next row to mature, the largest time of any row
and of any event, labels held and waiting, both ends of the queue, and the three durations."""

ROW, WHEN, EVENT_IDENT, KNOWN = range(4)
STATUS, IS_LATE, VALUE = range(3)
"""Rows of `longs` and `shorts`, which are laid out as `Admission` says."""

_EXPIRED_A_ROW = 4
_STEP = np.uint64(0x9E3779B97F4A7C15)

_LONGS = "Array(int64, 1, 'C', readonly=True)"
_LONG_ROWS = "Array(int64, 2, 'C', readonly=True)"


@dataclass(frozen=True, slots=True)
class Examples:
    """What is to be learnt, in order."""

    row: Int64s
    """(e,) log row of the event."""
    y: npt.NDArray[np.int8]
    """(e,) 1 or 0."""
    known_us: Int64s
    """(e,) when it became known: the label's time, or the event's time plus the maturity."""
    cause: npt.NDArray[np.uint8]
    """(e,) BY_LABEL, BY_MATURITY, BY_LATE_LABEL or BY_REVERSAL (`operators.labels`)."""
    after: Int64s
    """(e,) how many of the rows came before it: those a version that has learnt it cannot score."""

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of the rows [start, stop) of a batch: m rows, K keys."""

    stop: int
    """The first row that was not processed."""
    row: Int64s
    """(m,) log row of an admitted event, else -1."""
    status: npt.NDArray[np.uint8]
    """(m,) ADMITTED to LABEL_WAITING (`operators.labels`)."""
    late: npt.NDArray[np.bool_]
    """(m,) whether an event is older than the newest so far by more than the lateness."""
    keys: Int64s
    """(m, K, 2) key idents of the event, or of the event a label speaks of; of a label that waits,
    or whose id nothing else was known of, zeros."""
    when: Int64s
    """(m,) time of that event; 0 where it is not known."""
    event_ident: Int64s
    """(m,) low word of the id."""
    known: Int64s
    """(m,) when the label to be written into the windows after this row became known; 0 if none."""
    value: npt.NDArray[np.int8]
    """(m,) that label, -1 if none: a label row's own, or the one that waited for this event."""
    examples: Examples
    counts: Int64s
    """(len(COUNTS),) what these rows add to the ledger."""


def advanced(examples: Examples, counts: Int64s, none: Batch, start: int) -> Admission:
    """What became of no rows, before row `start` of a batch, when time alone has come further."""
    longs, keys = np.empty(0, np.int64), np.empty((0, none.idents.shape[1] - 1, 2), np.int64)
    shorts = np.empty(0, np.uint8)
    return Admission(
        start, longs, shorts, shorts.view(np.bool_), keys, longs, longs, longs,
        shorts.view(np.int8), examples, counts,
    )  # fmt: skip


@kernel(f"int64({_LONGS}, int64, {_LONG_ROWS}, {_LONG_ROWS}, Array(int64, 3, 'C', readonly=True))")
def content_hash(time, i, numbers, categories, idents):  # type: ignore[no-untyped-def]
    """64 bits of an event's time, keys, numbers and categories."""
    h = mix(np.uint64(time[i]) + _STEP)
    for k in range(1, idents.shape[1]):
        h = mix((h ^ np.uint64(idents[i, k, HI])) + _STEP)
        h = mix((h ^ np.uint64(idents[i, k, LO])) + _STEP)
    for v in range(numbers.shape[1]):
        h = mix((h ^ np.uint64(numbers[i, v])) + _STEP)
    for c in range(categories.shape[1]):
        h = mix((h ^ np.uint64(categories[i, c])) + _STEP)
    return np.int64(h)


@kernel()
def _forget(ids, slots, spill, states, waiting, queue, book, counts):  # type: ignore[no-untyped-def]
    """Drop a few ids and waiting labels that are older than the retention."""
    limit = book[CLOCK] - book[RETENTION]
    for _ in range(_EXPIRED_A_ROW):
        row = book[FIRST]
        if row == book[NEXT] or ids[row, TIME] >= limit:
            break
        if row + AHEAD < book[NEXT]:
            expect(slots, ids[row + AHEAD, HI], ids[row + AHEAD, LO])
        drop_row(slots, spill, book, spread(ids[row, HI], ids[row, LO]), row)
        at = find(states, row, 0)
        if at >= 0:
            drop(states, at)
            book[HELD] -= 1
        book[FIRST] += 1
        counts[_EXPIRED] += 1
    left = _EXPIRED_A_ROW
    while left and book[HEAD] < book[TAIL]:
        place = book[HEAD] % len(queue)
        at = find(waiting, queue[place, 0], queue[place, 1])
        if at >= 0:
            if waiting[at, 0] >> 2 >= limit:
                break
            drop(waiting, at)
            book[WAITING] -= 1
            counts[_WAITING_EXPIRED] += 1
            left -= 1
        book[HEAD] += 1


@kernel()
def _example(  # type: ignore[no-untyped-def]
    long_examples, short_examples, e, row, word, cause, after
):
    long_examples[0, e] = row
    long_examples[1, e] = word >> 2
    long_examples[2, e] = after
    short_examples[0, e] = (word & 3) - 1
    short_examples[1, e] = cause


@kernel()
def _mature(  # type: ignore[no-untyped-def]
    ids, states, book, counts, long_examples, short_examples, e, budget, after
):
    """Pass events that the clock has matured; returns how many examples there are then."""
    while e < budget and book[CURSOR] < book[NEXT]:
        row = book[CURSOR]
        matures = ids[row, TIME] + book[MATURITY]
        if matures >= book[CLOCK]:
            break
        book[CURSOR] += 1
        if find(states, row, 0) < 0:
            word = matures << 2 | 1
            _example(long_examples, short_examples, e, row, word, BY_MATURITY, after)
            e += 1
            counts[_MATURED] += 1
    return e


@kernel(
    "int64(int64, int64, int64[:, ::1], int64[:, ::1], int64[::1], int64[::1], int64[:, ::1],"
    " uint8[:, ::1])"
)
def advance(  # type: ignore[no-untyped-def]
    time, budget, ids, states, book, counts, long_examples, short_examples
):
    """Let time have come this far without a row; returns how many examples that makes."""
    book[CLOCK] = max(book[CLOCK], time)
    return _mature(ids, states, book, counts, long_examples, short_examples, 0, budget, 0)


@kernel(
    f"UniTuple(int64, 2)(Array(uint8, 1, 'C', readonly=True), {_LONGS},"
    f" Array(int64, 3, 'C', readonly=True), {_LONG_ROWS}, {_LONG_ROWS},"
    " Array(int8, 1, 'C', readonly=True), int64, int64, int64, int64, int64, int64,"
    " int64[:, ::1], uint32[::1], int64[::1], int64[:, ::1], int64[:, ::1], int64[:, ::1],"
    " int64[::1], int64[::1], int64[:, :, ::1], int64[:, ::1], uint8[:, ::1], int64[:, ::1],"
    " uint8[:, ::1])"
)
def admit(  # type: ignore[no-untyped-def]
    kind,
    time,
    idents,
    numbers,
    categories,
    label,
    base,
    start,
    stop,
    until,
    e,
    budget,
    ids,
    slots,
    spill,
    states,
    waiting,
    queue,
    book,
    counts,
    keys,
    longs,
    shorts,
    long_examples,
    short_examples,
):
    """Process the rows [start, stop); returns the first that was not, and the examples there are.

    Of the rows since `base`, and the `e` examples that those before `start` made.
    """
    time, idents, numbers, categories = (
        borrow(time),
        borrow(idents),
        borrow(numbers),
        borrow(categories),
    )
    ids, slots, spill, book = borrow(ids), borrow(slots), borrow(spill), borrow(book)
    states, waiting, queue, counts = (
        borrow(states),
        borrow(waiting),
        borrow(queue),
        borrow(counts),
    )
    long_examples, short_examples = borrow(long_examples), borrow(short_examples)
    for i in range(start, stop):
        now = time[i]
        if now >= until:
            return i, e
        book[CLOCK] = max(book[CLOCK], now)

        e = _mature(ids, states, book, counts, long_examples, short_examples, e, budget, i - base)
        if e == budget:
            return i, e
        old = book[FIRST] < book[NEXT] and ids[book[FIRST], TIME] < book[CLOCK] - book[RETENTION]
        if old or book[HEAD] < book[TAIL]:
            _forget(ids, slots, spill, states, waiting, queue, book, counts)

        if i + AHEAD < stop:
            expect(slots, idents[i + AHEAD, 0, HI], idents[i + AHEAD, 0, LO])
        out = i - base
        hi = idents[i, 0, HI]
        lo = idents[i, 0, LO]
        longs[ROW, out] = -1
        longs[WHEN, out] = 0
        longs[EVENT_IDENT, out] = lo
        longs[KNOWN, out] = 0
        shorts[IS_LATE, out] = 0
        shorts[VALUE, out] = 255
        h = spread(hi, lo)
        row = find_row(slots, spill, ids, book, h, hi, lo)
        if kind[i] == EVENT:
            longs[WHEN, out] = now
            late = now < book[NEWEST] - book[LATENESS]
            shorts[IS_LATE, out] = late
            book[NEWEST] = max(book[NEWEST], now)
            for k in range(keys.shape[1]):
                keys[out, k, HI] = idents[i, 1 + k, HI]
                keys[out, k, LO] = idents[i, 1 + k, LO]
            content = content_hash(time, i, numbers, categories, idents)
            if row >= 0:
                status = DUPLICATE if ids[row, CONTENT] == content else CONFLICTING
            else:
                status = ADMITTED
                counts[_LATE] += late
                row = book[NEXT]
                book[NEXT] += 1
                longs[ROW, out] = row
                ids[row, HI] = hi
                ids[row, LO] = lo
                ids[row, TIME] = now
                ids[row, CONTENT] = content
                for k in range(keys.shape[1]):
                    ids[row, KEYS + 2 * k] = keys[out, k, HI]
                    ids[row, KEYS + 2 * k + 1] = keys[out, k, LO]
                add_row(slots, spill, book, h, row)
                at = find(waiting, hi, lo) if book[WAITING] else -1
                if at >= 0:
                    word = waiting[at, 0]
                    drop(waiting, at)
                    book[WAITING] -= 1
                    counts[_WAITING_MATCHED] += 1
                    book[HELD] += put(states, row, 0, word)
                    longs[KNOWN, out] = word >> 2
                    shorts[VALUE, out] = (word & 3) - 1
                    _example(long_examples, short_examples, e, row, word, BY_LABEL, out + 1)
                    e += 1
        else:
            word = now << 2 | (1 + label[i])
            if row < 0:
                for k in range(keys.shape[1]):
                    keys[out, k, HI] = 0
                    keys[out, k, LO] = 0
                at = find(waiting, hi, lo)
                status, word, _ = settle(waiting[at, 0] if at >= 0 else 0, word, False)
                if status == LABEL_MATCHED:
                    status = LABEL_WAITING
                    queue[book[TAIL] % len(queue), 0] = hi
                    queue[book[TAIL] % len(queue), 1] = lo
                    book[TAIL] += 1
                book[WAITING] += put(waiting, hi, lo, word)
            else:
                for k in range(keys.shape[1]):
                    keys[out, k, HI] = ids[row, KEYS + 2 * k]
                    keys[out, k, LO] = ids[row, KEYS + 2 * k + 1]
                longs[WHEN, out] = ids[row, TIME]
                longs[KNOWN, out] = now
                shorts[VALUE, out] = label[i]
                at = find(states, row, 0)
                status, word, cause = settle(
                    states[at, 0] if at >= 0 else 0, word, row < book[CURSOR]
                )
                book[HELD] += put(states, row, 0, word)
                if cause >= 0:
                    _example(long_examples, short_examples, e, row, word, cause, out + 1)
                    e += 1
        shorts[STATUS, out] = status
        counts[status] += 1
        if e == budget:
            return i + 1, e
    return stop, e


@kernel(
    "void(int64[:, ::1], int64[:, ::1], uint32[::1], int64[::1], int64[:, ::1], int64[:, ::1],"
    " int64[::1], int64[:, ::1])"
)
def look_up(  # type: ignore[no-untyped-def]
    idents, ids, slots, spill, states, waiting, book, out
):
    """Write the log row of each id or -1, the label held of it and the label that waits for it."""
    for i in range(len(idents)):
        hi = idents[i, HI]
        lo = idents[i, LO]
        row = find_row(slots, spill, ids, book, spread(hi, lo), hi, lo)
        at = find(states, row, 0) if row >= 0 else -1
        waits = find(waiting, hi, lo)
        out[i, 0] = row
        out[i, 1] = states[at, 0] if at >= 0 else 0
        out[i, 2] = waiting[waits, 0] if waits >= 0 else 0
