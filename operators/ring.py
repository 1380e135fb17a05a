"""One key's record: a header and a ring of its events in one flat run of int64, and the kernels that keep it exact.

    word 0        owner slot << 8 | size class         word 1        events in the ring << 32 | place of the oldest
    word 2        latest time a label became known     3 …           per boundary, how many events are past it
    then          per accumulator, its running integer
    then          the ring: time, id, [label], [values and categories], oldest first by (time, id)

A *boundary* is an age a: events with time <= newest - a are past it. A window (t - d - w, t - d] lies between the boundaries
d + w and d, so moving a boundary over an event adds it to the windows it enters and takes it from those it leaves: O(1) an
event, exact, whatever the arrival order. All state is as of the newest event and a function of the set of events seen.

A full ring at its cap merges its oldest half into panes: an entry whose id word is -weight, whose values are sums and
whose label word counts positives. A pane leaves a window when its last event does, at most window / 256 late.
"""

from __future__ import annotations

import numpy as np

from streams.jit import kernel

HEADER = 3
TIME = 0
ID = 1
LABEL_WORD = 2
MISSING = -(2**63)
EVER = 2**62
"""A time by which every label is known."""

STRIDE, LABELLED, BOUNDS, ACCS, RETENTION, MATURITY, CAP, SCAN = range(8)
"""Places in a plan's `shape`: words an entry, whether it has a label word, boundaries, accumulators, microseconds
of retention and maturity, the cap in events, and the boundary that scanning features look back to (-1: none scans)."""

COUNT, SUM, SQUARES, PRESENT, POSITIVES, CLEAN_COUNT, CLEAN_SUM, CLEAN_SQUARES = range(8)
"""Kinds of accumulator: rows of `accs` are (kind, entry word, lower boundary, upper boundary or -1).

The clean ones leave out what is labelled positive."""

UNLABELLED, NEGATIVE, POSITIVE, PANE = range(4)
"""Low two bits of a label word; the rest is when it became known, or a pane's positives."""


@kernel("int64(int64[::1], int64, int64[::1], int64, int64)")
def place(words, base, shape, capacity, i):
    """Where the i-th oldest entry begins."""
    at = (words[base + 1] & 0xFFFFFFFF) + i
    if at >= capacity:
        at -= capacity
    return base + HEADER + shape[BOUNDS] + shape[ACCS] + at * shape[STRIDE]


@kernel("int64(int64[::1], int64)")
def weight(words, entry):
    """How many events an entry stands for."""
    return -words[entry + ID] if words[entry + ID] < 0 else 1


@kernel("int64(int64[::1], int64, int64, int64, int64)")
def contribution(words, entry, kind, word, now):
    """What an entry adds to an accumulator of this kind, by the labels known at `now`."""
    count = weight(words, entry)
    if kind == COUNT:
        return count
    if kind >= POSITIVES:
        label = words[entry + LABEL_WORD]
        positives = 0
        if label & 3 == PANE:
            positives = label >> 2
        elif label & 3 == POSITIVE and label >> 2 <= now:
            positives = 1
        if kind == POSITIVES:
            return positives
        if 2 * positives > count:
            return 0
    value = words[entry + word]
    if value == MISSING:
        return 0
    if kind == SUM or kind == CLEAN_SUM:
        return value
    if kind == SQUARES or kind == CLEAN_SQUARES:
        return value // count * value
    return count


@kernel("int64(int64[::1], int64, int64[::1], int64, int64, int64, int64)")
def after(words, base, shape, capacity, time, ident, count):
    """How many of the first `count` entries are at or before (time, id)."""
    low = 0
    high = count
    while low < high:
        middle = (low + high) // 2
        entry = place(words, base, shape, capacity, middle)
        then = words[entry]
        if then < time or (then == time and words[entry + ID] <= ident):
            low = middle + 1
        else:
            high = middle
    return low


@kernel(
    "void(int64[::1], int64, int64[::1], int64[::1], int64[:, ::1], int64[::1], int64[:, ::1],"
    " int64, int64)"
)
def advance(words, base, shape, ages, accs, edge_from, edges, capacity, newest):
    """Carry the record to a newer time: every boundary over what has aged, then drop what none can see.

    `edges[edge_from[b]:edge_from[b + 1]]` are the (accumulator, sign) that boundary b touches.
    """
    count = words[base + 1] >> 32
    start = words[base + 1] & 0xFFFFFFFF
    stride = shape[STRIDE]
    sums = base + HEADER + shape[BOUNDS]
    ring = sums + shape[ACCS]
    for b in range(shape[BOUNDS]):
        past = words[base + HEADER + b]
        limit = newest - ages[b]
        while past < count:
            at = start + past
            if at >= capacity:
                at -= capacity
            entry = ring + at * stride
            if words[entry] > limit:
                break
            for e in range(edge_from[b], edge_from[b + 1]):
                a = edges[e, 0]
                words[sums + a] += edges[e, 1] * contribution(words, entry, accs[a, 0], accs[a, 1], EVER)
            past += 1
        words[base + HEADER + b] = past
    dropped = 0
    while dropped < count:
        at = start + dropped
        if at >= capacity:
            at -= capacity
        if words[ring + at * stride] > newest - shape[RETENTION]:
            break
        dropped += 1
    if dropped:
        start += dropped
        if start >= capacity:
            start -= capacity
        words[base + 1] = ((count - dropped) << 32) | start
        for b in range(shape[BOUNDS]):
            words[base + HEADER + b] -= dropped


@kernel("boolean(int64[::1], int64, int64[::1], int64, int64, int64)")
def is_newest(words, base, shape, capacity, time, ident):
    """Whether an event of this time and id comes after every event in the ring."""
    count = words[base + 1] >> 32
    if count == 0:
        return True
    last = place(words, base, shape, capacity, count - 1)
    return words[last] < time or (words[last] == time and words[last + ID] <= ident)


@kernel("boolean(int64[::1], int64[:, ::1], int64, int64, int64)")
def inside(ages, accs, a, newest, time):
    """Whether an event of this time is in accumulator a's window as of `newest`."""
    above = time > newest - ages[accs[a, 2]]
    return above and (accs[a, 3] < 0 or time <= newest - ages[accs[a, 3]])


@kernel(
    "int64(int64[::1], int64, int64[::1], int64[::1], int64[:, ::1], int64, int64[::1], boolean)"
)
def insert(words, base, shape, ages, accs, capacity, event, newest):
    """Put an event (an entry's words) in its place and return its index there; the ring has room.

    `newest`: it comes after all others, and `advance` has been called for its time. Otherwise it is
    younger than the retention.
    """
    stride = shape[STRIDE]
    count = words[base + 1] >> 32
    sums = base + HEADER + shape[BOUNDS]
    words[base + 1] += 1 << 32
    index = count
    if not newest:
        index = after(words, base, shape, capacity, event[TIME], event[ID], count)
        for i in range(count, index, -1):
            source = place(words, base, shape, capacity, i - 1)
            target = place(words, base, shape, capacity, i)
            for w in range(stride):
                words[target + w] = words[source + w]
    entry = place(words, base, shape, capacity, index)
    for w in range(stride):
        words[entry + w] = event[w]
    if newest:
        for a in range(shape[ACCS]):
            if accs[a, 3] < 0:
                words[sums + a] += contribution(words, entry, accs[a, 0], accs[a, 1], EVER)
        return index
    now = words[place(words, base, shape, capacity, count)]
    for b in range(shape[BOUNDS]):
        if event[TIME] <= now - ages[b]:
            words[base + HEADER + b] += 1
    for a in range(shape[ACCS]):
        if inside(ages, accs, a, now, event[TIME]):
            words[sums + a] += contribution(words, entry, accs[a, 0], accs[a, 1], EVER)
    return index


@kernel(
    "int64(int64[::1], int64, int64[::1], int64[::1], int64[:, ::1], int64, int64, int64, int64,"
    " int64)"
)
def mark(words, base, shape, ages, accs, capacity, time, ident, known, value):
    """Write a label on the event (time, id). Returns 1 if it changed it, 0 if not, -1 if it is gone.

    Of several labels the one that became known last holds; at equal times the positive one.
    """
    count = words[base + 1] >> 32
    index = after(words, base, shape, capacity, time, ident, count) - 1
    entry = place(words, base, shape, capacity, index) if index >= 0 else 0
    pane = False
    if index < 0 or words[entry] != time or words[entry + ID] != ident:
        index = after(words, base, shape, capacity, time, -(2**62), count)
        if index >= count:
            return -1
        entry = place(words, base, shape, capacity, index)
        pane = words[entry + ID] < 0
        if not pane:
            return -1
    if pane:
        if not value:
            return 0
        word = words[entry + LABEL_WORD] + 4
    else:
        word = known << 2 | (POSITIVE if value else NEGATIVE)
        if word <= words[entry + LABEL_WORD]:
            return 0
    before = words[entry + LABEL_WORD]
    newest = words[place(words, base, shape, capacity, count - 1)]
    sums = base + HEADER + shape[BOUNDS]
    for a in range(shape[ACCS]):
        if accs[a, 0] >= POSITIVES and inside(ages, accs, a, newest, words[entry]):
            words[entry + LABEL_WORD] = before
            words[sums + a] -= contribution(words, entry, accs[a, 0], accs[a, 1], EVER)
            words[entry + LABEL_WORD] = word
            words[sums + a] += contribution(words, entry, accs[a, 0], accs[a, 1], EVER)
    words[entry + LABEL_WORD] = word
    words[base + 2] = max(words[base + 2], known)
    return 1


@kernel("boolean(int64[::1], int64, int64, int64[::1], int64[::1], int64, int64)")
def same_pane(words, left, right, shape, ages, newest, widest):
    """Whether two neighbours may be merged."""
    if widest:
        return weight(words, left) == weight(words, right) or words[left + ID] >= 0
    age = newest - words[left]
    span = shape[RETENTION]
    for b in range(shape[BOUNDS]):
        if age <= ages[b] < span:
            span = ages[b]
    width = max(span // 256, 1)
    return words[left] // width == words[right] // width


@kernel("void(int64[::1], int64, int64, int64[::1])")
def merge(words, left, right, shape):
    """Add the right neighbour to the left one, making it a pane."""
    total = weight(words, left) + weight(words, right)
    first = LABEL_WORD
    if shape[LABELLED]:
        positives = contribution(words, left, POSITIVES, 0, EVER)
        positives += contribution(words, right, POSITIVES, 0, EVER)
        words[left + LABEL_WORD] = positives << 2 | PANE
        first += 1
    for w in range(first, shape[STRIDE]):
        if words[right + w] == MISSING:
            continue
        kept = words[left + w]
        words[left + w] = words[right + w] + (0 if kept == MISSING else kept)
    words[left] = words[right]
    words[left + ID] = -total


@kernel("void(int64[::1], int64, int64[::1], int64[::1], int64)")
def merge_panes(words, base, shape, ages, capacity):
    """Make room in a full ring: merge its oldest half into panes, never across a boundary.

    A pane spans at most 1/256 of the smallest window age that still covers it; should that free
    nothing, neighbours are merged whatever their distance.
    """
    for widest in range(2):
        count = words[base + 1] >> 32
        newest = words[place(words, base, shape, capacity, count - 1)]
        kept = 0
        half = count // 2
        shift = np.zeros(shape[BOUNDS], np.int64)
        for i in range(count):
            source = place(words, base, shape, capacity, i)
            joined = False
            if 0 < kept and i < half:
                target = place(words, base, shape, capacity, kept - 1)
                joined = same_pane(words, target, source, shape, ages, newest, widest)
                for b in range(shape[BOUNDS]):
                    if i == words[base + HEADER + b]:
                        joined = False
            if joined:
                merge(words, target, source, shape)
                for b in range(shape[BOUNDS]):
                    if i < words[base + HEADER + b]:
                        shift[b] += 1
            else:
                target = place(words, base, shape, capacity, kept)
                for w in range(shape[STRIDE]):
                    words[target + w] = words[source + w]
                kept += 1
        for b in range(shape[BOUNDS]):
            words[base + HEADER + b] -= shift[b]
        words[base + 1] = (kept << 32) | (words[base + 1] & 0xFFFFFFFF)
        if kept < count - count // 16:
            break
