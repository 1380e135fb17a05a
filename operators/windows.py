"""One entity's windows over a batch: the kernels that every host calls, once per entity, on its own key records."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.arena import AT, CAPACITY, CLOCK, add_key, class_for, find, resize, sweep
from operators.ring import (
    ACCS,
    BOUNDS,
    CAP,
    HEADER,
    ID,
    LABEL_WORD,
    LABELLED,
    RETENTION,
    SCAN,
    STRIDE,
    TIME,
    UNLABELLED,
    advance,
    insert,
    is_newest,
    mark,
    merge_panes,
    place,
)
from operators.view import USER, look_back, read, unroll
from streams.jit import borrow, kernel

Int64s = npt.NDArray[np.int64]
NUMBER, CATEGORY, KEY = range(3)
"""Where an entry's word comes from: rows of `fields` are (kind, column)."""
SWEPT = 4
"""Slots looked at for each new key, in search of keys to forget: so the forgotten keep up with the new."""


@kernel(
    "void(int64[::1], int64, int64[::1], int64[::1], int64[:, ::1], int64[:, ::1], float64[:, ::1],"
    " int64, int64, int64, int64[::1], int64[::1], int8[::1], int64[:, ::1],"
    f" FunctionType({USER}), float64[::1])"
)
def observe(
    words, base, shape, ages, accs, ops, reals, capacity, index, now, view, times, status, columns,
    custom, out,
):  # fmt: skip
    """Read the features of the event at `index` of a record, as of its own time."""
    seen = words
    seen_at = base + HEADER
    if index + 1 < words[base + 1] >> 32 or words[base + 2] > now:
        look_back(words, base, shape, ages, accs, capacity, index, now, view)
        seen = view
        seen_at = 0
    unrolled = 0
    if shape[SCAN] >= 0:
        first = seen[seen_at + shape[SCAN]]
        unrolled = index + 1 - first
        unroll(words, base, shape, capacity, first, index + 1, now, times, status, columns)
    read(
        words, base, shape, ops, reals, capacity, index, now, seen, seen_at, times, status, columns,
        unrolled, custom, out,
    )  # fmt: skip


@kernel(
    "void(int64[::1], int64[:, ::1], int64, int64[:, ::1], int64[:, ::1], int64[:, :, ::1],"
    " int64[::1], int64)"
)
def gather_event(event, fields, row, numbers, categories, keys, time, ident):
    """Write a row's words as a ring entry."""
    event[TIME] = time[row]
    event[ID] = ident
    first = len(event) - len(fields)
    if first > LABEL_WORD:
        event[LABEL_WORD] = UNLABELLED
    for f in range(len(fields)):
        column = fields[f, 1]
        if fields[f, 0] == NUMBER:
            event[first + f] = numbers[row, column]
        elif fields[f, 0] == CATEGORY:
            event[first + f] = categories[row, column]
        else:
            event[first + f] = keys[row, column, 1]


@kernel(
    "int64("
    # the arena
    "int64[::1], int64[::1], int64[:, ::1], int64[::1], int32[::1], int64[:, ::1], uint8[::1],"
    # the plan
    " int64[::1], int64[::1], int64[:, ::1], int64[::1], int64[:, ::1], int64[:, ::1],"
    " float64[:, ::1], int64[:, ::1],"
    # the rows
    " int64, int64[::1], int64[::1], int64[:, ::1], int64[:, ::1], int64[:, :, ::1], int64[::1],"
    " int64[::1], int8[::1],"
    # scratch, custom features, result
    " int64[::1], int64[::1], int64[::1], int64[::1], int8[::1], int64[:, ::1],"
    f" FunctionType({USER}), float64[:, ::1])"
)
def update(
    words, chunk_before, classes, heads, index, slots, dirty,
    shape, ages, accs, edge_from, edges, ops, reals, fields,
    entity, admitted, when, numbers, categories, keys, ident, known, value,
    event, alone, view, times, status, columns, custom, out,
):  # fmt: skip
    """Carry one entity through rows: mark labels, insert events, write their features to `out`.

    admitted (m,): the row of `out` an event writes to, -1 for rows that are no event. value (m,): a
    label to write on the event (when, ident) after the row, known since `known`; -1 for none.
    `alone` is a zeroed record for an event too old to be kept. Returns m, or -1 if memory is used up.
    """
    words, classes, heads, slots = borrow(words), borrow(classes), borrow(heads), borrow(slots)
    chunk_before, index, dirty = borrow(chunk_before), borrow(index), borrow(dirty)
    shape, ages, accs, edge_from = borrow(shape), borrow(ages), borrow(accs), borrow(edge_from)
    edges, ops, reals, fields = borrow(edges), borrow(ops), borrow(reals), borrow(fields)
    numbers, categories, keys, when = borrow(numbers), borrow(categories), borrow(keys), borrow(when)
    event, alone, view, times = borrow(event), borrow(alone), borrow(view), borrow(times)
    status, columns, out = borrow(status), borrow(columns), borrow(out)
    for row in range(len(when)):
        if admitted[row] < 0 and value[row] < 0:
            continue
        hi = keys[row, entity, 0]
        lo = keys[row, entity, 1]
        slot = find(index, slots, hi, lo)
        if admitted[row] >= 0:
            now = when[row]
            if now > heads[CLOCK]:
                heads[CLOCK] = now
            fresh = slot < 0
            if fresh:
                slot = add_key(words, shape, chunk_before, classes, heads, index, slots, hi, lo)
                if slot < 0:
                    return -1
            dirty[slot] = 1
            gather_event(event, fields, row, numbers, categories, keys, when, ident[row])
            at = slots[slot, AT]
            capacity = classes[words[at] & 0xFF, CAPACITY]
            newest = is_newest(words, at, shape, capacity, now, ident[row])
            count = words[at + 1] >> 32
            if newest:
                advance(words, at, shape, ages, accs, edge_from, edges, capacity, now)
                count = words[at + 1] >> 32
            elif now <= words[place(words, at, shape, capacity, count - 1)] - shape[RETENTION]:
                alone[:] = 0
                insert(alone, 0, shape, ages, accs, 2, event, True)
                observe(
                    alone, 0, shape, ages, accs, ops, reals, 2, 0, now, view, times, status,
                    columns, custom, out[admitted[row]],
                )  # fmt: skip
                continue
            if count == capacity:
                if capacity == shape[CAP]:
                    merge_panes(words, at, shape, ages, capacity)
                else:
                    size = class_for(classes, count + 1)
                    at = resize(words, shape, chunk_before, classes, heads, slots, slot, size)
                    if at < 0:
                        return -1
                    capacity = classes[size, CAPACITY]
            place_in_ring = insert(words, at, shape, ages, accs, capacity, event, newest)
            observe(
                words, at, shape, ages, accs, ops, reals, capacity, place_in_ring, now, view,
                times, status, columns, custom, out[admitted[row]],
            )  # fmt: skip
            if fresh:
                sweep(words, shape, chunk_before, classes, heads, index, slots, dirty, SWEPT)
        if value[row] >= 0 and slot >= 0 and shape[LABELLED]:
            at = slots[slot, AT]
            if at >= 0:
                dirty[slot] = 1
                capacity = classes[words[at] & 0xFF, CAPACITY]
                mark(
                    words, at, shape, ages, accs, capacity, when[row], ident[row], known[row],
                    value[row],
                )  # fmt: skip
    return len(when)
