"""One key's record: a header and a ring of its events in one flat run of int64, and the kernels
that keep it exact.

    word 0   owner slot << 8 | size class
    word 1   place of the oldest event in the ring
    word 2   latest time a label became known
    word 3 … per boundary: entries past it << 32 | events past it
    then     per accumulator, its running integers
    then     the ring: time, id, [label], [values and categories], oldest first by (time, id)

A *boundary* is an age a: events with time <= newest - a are past it; the first is age 0, past which
is everything. A window (t - d - w, t - d] lies between the boundaries d + w and d. An accumulator
runs over what is past one boundary, so what it is over a window is a difference of two: O(1) an
event, exact, whatever the arrival order. Running integers may wrap and go on when events are
dropped; only differences mean anything.

A full ring at its cap merges its oldest half into panes: an entry whose id word is -weight, whose
values are sums and whose label word counts positives. A pane leaves a window when its last event
does, at most window / 256 late.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.jit import kernel

Int64s = npt.NDArray[np.int64]

LAYOUT = 2
"""To be raised whenever the words of a record change their meaning: older state is then refused."""
HEADER = 3
TIME = 0
ID = 1
LABEL_WORD = 2
MISSING = -(2**63)
EVER = 2**62
"""A time by which every label is known."""

STRIDE, HEAD, BOUNDS, LABELLED, RETENTION, MATURITY, CAP, SCAN = range(8)
"""Places in a plan's `shape`: words an entry, words before the ring, boundaries, whether entries
have a label word, microseconds of retention and maturity, the cap in events, the boundary that
scans look back to (-1: none scans)."""

SUM, SQUARES, PRESENT, POSITIVES, CLEAN = range(5)
"""Kinds of accumulator. CLEAN is three words, count, sum and squares of what is not labelled
positive."""
KIND, ACC_WORD, PLACE = range(3)
"""Columns of `accs`: kind, entry word, place after the header; `acc_from[b]:acc_from[b + 1]` are
boundary b's."""

UNLABELLED, NEGATIVE, POSITIVE, PANE = range(4)
"""Low two bits of a label word; the rest is when it became known, or a pane's positives."""
ONE = (1 << 32) + 1
"""An entry of one event, in a boundary's word."""


@kernel("int64(int64[::1], int64[::1], int64, int64, int64)")
def place(words: Int64s, shape: Int64s, base: int, capacity: int, i: int) -> int:
    """Where the i-th oldest entry begins."""
    at = words[base + 1] + i
    if at >= capacity:
        at -= capacity
    return int(base + shape[HEAD] + at * shape[STRIDE])


@kernel("int64(int64[::1], int64)")
def weight(words: Int64s, entry: int) -> int:
    """How many events an entry stands for."""
    return -words[entry + ID] if words[entry + ID] < 0 else 1


@kernel("int64(int64[::1], int64, int64)")
def positives(words: Int64s, entry: int, now: int) -> int:
    """How many events of an entry are labelled positive, as far as known at `now`."""
    label = words[entry + LABEL_WORD]
    if label & 3 == PANE:
        return int(label >> 2)
    return 1 if label & 3 == POSITIVE and label >> 2 <= now else 0


@kernel("void(int64[::1], int64, int64[::1], int64, int64, int64, int64, int64)")
def tally(
    into: Int64s, at: int, words: Int64s, entry: int, kind: int, word: int, sign: int, now: int
) -> None:
    """Add an entry to an accumulator (sign 1) or take it away (-1), by labels known at `now`."""
    count = weight(words, entry)
    if kind >= POSITIVES:
        labelled = positives(words, entry, now)
        if kind == POSITIVES:
            into[at] += sign * labelled
            return
        if 2 * labelled > count:
            return
    value = words[entry + word]
    if value == MISSING:
        return
    if kind == SUM:
        into[at] += sign * value
        return
    if kind == PRESENT:
        into[at] += sign * count
        return
    squares = value * value if count == 1 else value // count * value
    if kind == SQUARES:
        into[at] += sign * squares
        return
    into[at] += sign * count
    into[at + 1] += sign * value
    into[at + 2] += sign * squares


@kernel("int64(int64[::1], int64[::1], int64, int64, int64, int64, int64)")
def after(
    words: Int64s, shape: Int64s, base: int, capacity: int, time: int, ident: int, count: int
) -> int:
    """How many of the first `count` entries are at or before (time, id)."""
    low = 0
    high = count
    while low < high:
        middle = (low + high) >> 1
        entry = place(words, shape, base, capacity, middle)
        then = words[entry]
        if then < time or (then == time and words[entry + ID] <= ident):
            low = middle + 1
        else:
            high = middle
    return low


@kernel(
    "void(int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int64, int64, int64)",
    inline=True,
)
def advance(
    words: Int64s,
    shape: Int64s,
    ages: Int64s,
    accs: Int64s,
    acc_from: Int64s,
    base: int,
    capacity: int,
    newest: int,
) -> None:
    """Carry every boundary over what is past it, once an event of time `newest` lies behind the
    others.
    """
    count = (words[base + HEADER] >> 32) + 1
    start = words[base + 1]
    stride = shape[STRIDE]
    ring = base + shape[HEAD]
    for b in range(shape[BOUNDS]):
        seen = words[base + HEADER + b]
        past = seen >> 32
        at = start + past
        if at >= capacity:
            at -= capacity
        entry = ring + at * stride
        limit = newest - ages[b]
        while past < count and words[entry] <= limit:
            for a in range(acc_from[b], acc_from[b + 1]):
                into = base + HEADER + accs[a, PLACE]
                tally(words, into, words, entry, accs[a, KIND], accs[a, ACC_WORD], 1, EVER)
            seen += (1 << 32) + weight(words, entry)
            past += 1
            at += 1
            entry += stride
            if at == capacity:
                at = 0
                entry = ring
        words[base + HEADER + b] = seen


@kernel("void(int64[::1], int64[::1], int64, int64)")
def drop_expired(words: Int64s, shape: Int64s, base: int, capacity: int) -> None:
    """Drop the entries that no window can see any more."""
    count = words[base + HEADER] >> 32
    if count == 0:
        return
    limit = words[place(words, shape, base, capacity, count - 1)] - shape[RETENTION]
    dropped = 0
    gone = 0
    while dropped < count:
        entry = place(words, shape, base, capacity, dropped)
        if words[entry] > limit:
            break
        gone += (1 << 32) + weight(words, entry)
        dropped += 1
    start = words[base + 1] + dropped
    words[base + 1] = start - capacity if start >= capacity else start
    for b in range(shape[BOUNDS]):
        words[base + HEADER + b] -= gone


@kernel("int64(int64[::1], int64[::1], int64, int64, int64, int64)")
def open_gap(words: Int64s, shape: Int64s, base: int, capacity: int, time: int, ident: int) -> int:
    """Make room for an event among the others, in a ring with room. Returns its index; `settle`
    counts it.
    """
    count = words[base + HEADER] >> 32
    index = after(words, shape, base, capacity, time, ident, count)
    for i in range(count, index, -1):
        source = place(words, shape, base, capacity, i - 1)
        target = place(words, shape, base, capacity, i)
        for w in range(shape[STRIDE]):
            words[target + w] = words[source + w]
    return int(index)


@kernel("void(int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int64, int64, int64)")
def settle(
    words: Int64s,
    shape: Int64s,
    ages: Int64s,
    accs: Int64s,
    acc_from: Int64s,
    base: int,
    capacity: int,
    index: int,
) -> None:
    """Count an event written into a gap wherever it belongs."""
    entry = place(words, shape, base, capacity, index)
    newest = words[place(words, shape, base, capacity, words[base + HEADER] >> 32)]
    for b in range(shape[BOUNDS]):
        if words[entry] <= newest - ages[b]:
            words[base + HEADER + b] += ONE
            for a in range(acc_from[b], acc_from[b + 1]):
                into = base + HEADER + accs[a, PLACE]
                tally(words, into, words, entry, accs[a, KIND], accs[a, ACC_WORD], 1, EVER)


@kernel(
    "void(int64[::1], int64, int64[::1], int64[::1], int64[:, ::1], int64[::1], int64, int64,"
    " int64, int64)"
)
def recount(
    into: Int64s,
    into_at: int,
    words: Int64s,
    shape: Int64s,
    accs: Int64s,
    acc_from: Int64s,
    base: int,
    capacity: int,
    first: int,
    now: int,
) -> None:
    """From entries past each boundary, in `into`, count events and accumulators anew from entry
    `first` on.
    """
    for b in range(shape[BOUNDS]):
        past = into[into_at + b] >> 32
        events = 0
        for i in range(first, past):
            entry = place(words, shape, base, capacity, i)
            events += weight(words, entry)
        into[into_at + b] = past << 32 | events
        for a in range(acc_from[b], acc_from[b + 1]):
            at = into_at + accs[a, PLACE]
            kind = accs[a, KIND]
            into[at] = 0
            if kind == CLEAN:
                into[at + 1] = 0
                into[at + 2] = 0
            for i in range(first, past):
                entry = place(words, shape, base, capacity, i)
                tally(into, at, words, entry, kind, accs[a, ACC_WORD], 1, now)


@kernel(
    "void(int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int64, int64, int64,"
    " int64)"
)
def relabel(
    words: Int64s,
    shape: Int64s,
    ages: Int64s,
    accs: Int64s,
    acc_from: Int64s,
    base: int,
    entry: int,
    newest: int,
    label: int,
) -> None:
    """Write an entry's label word and carry the change through what reads labels."""
    for sign in (-1, 1):
        if sign == 1:
            words[entry + LABEL_WORD] = label
        for b in range(shape[BOUNDS]):
            if words[entry] > newest - ages[b]:
                continue
            for a in range(acc_from[b], acc_from[b + 1]):
                if accs[a, KIND] >= POSITIVES:
                    into = base + HEADER + accs[a, PLACE]
                    tally(words, into, words, entry, accs[a, KIND], accs[a, ACC_WORD], sign, EVER)


@kernel(
    "int64(int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int64, int64, int64,"
    " int64, int64, int64)"
)
def mark(
    words: Int64s,
    shape: Int64s,
    ages: Int64s,
    accs: Int64s,
    acc_from: Int64s,
    base: int,
    capacity: int,
    time: int,
    ident: int,
    known: int,
    value: int,
) -> int:
    """Write a label on the event (time, id). Returns 1 if it changed it, 0 if not, -1 if it is
    gone.

    Of several labels the one that became known last holds; at equal times the positive one.
    """
    count = words[base + HEADER] >> 32
    index = after(words, shape, base, capacity, time, ident, count) - 1
    entry = place(words, shape, base, capacity, index) if index >= 0 else 0
    if index < 0 or words[entry] != time or words[entry + ID] != ident:
        index = after(words, shape, base, capacity, time, -(2**62), count)
        if index >= count:
            return -1
        entry = place(words, shape, base, capacity, index)
        if words[entry + ID] >= 0:
            return -1
        if not value:
            return 0
        label = words[entry + LABEL_WORD] + 4
    else:
        label = known << 2 | (POSITIVE if value else NEGATIVE)
        if label <= words[entry + LABEL_WORD]:
            return 0
    newest = words[place(words, shape, base, capacity, count - 1)]
    relabel(words, shape, ages, accs, acc_from, base, entry, newest, label)
    words[base + 2] = max(words[base + 2], known)
    return 1
