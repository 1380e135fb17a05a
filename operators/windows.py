"""One entity's windows over a batch: the kernels that every host calls, once per entity, on its own
key records.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.arena import (
    AT,
    CAPACITY,
    CLOCK,
    HI,
    LO,
    SLOT,
    add_key,
    class_for,
    find,
    home,
    resize,
    sweep,
)
from operators.panes import merge_panes
from operators.reading import read
from operators.ring import (
    BOUNDS,
    CAP,
    HEAD,
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
    drop_expired,
    mark,
    open_gap,
    place,
    settle,
)
from operators.view import look_back, unroll
from streams.jit import borrow, kernel, lent, prefetch

Int64s = npt.NDArray[np.int64]
Int8s = npt.NDArray[np.int8]
Float64s = npt.NDArray[np.float64]
NUMBER, CATEGORY, KEY = range(3)
"""Where an entry's word comes from: rows of `fields` are (kind, column)."""
longs, long_rows, double_rows = lent("int64[::1]"), lent("int64[:, ::1]"), lent("float64[:, ::1]")
ints, octets, signed = lent("int32[::1]"), lent("uint8[::1]"), lent("int8[::1]")
SWEPT = 4
"""Slots looked at for each new key, in search of keys to forget: so the forgotten keep up with the
new."""
LINE = 8
"""Words that memory is fetched by."""
BLOCK = 32
"""Rows whose keys are looked up together, so that their memory is on its way in time."""


@kernel(
    "void(int64[::1], int64, int64[:, ::1], int64, int64[:, ::1], int64[:, ::1], int64[:, :, ::1],"
    " int64, int64, int64)",
    inline=True,
)
def gather(
    words: Int64s,
    entry: int,
    fields: Int64s,
    row: int,
    numbers: Int64s,
    categories: Int64s,
    keys: Int64s,
    time: int,
    ident: int,
    labelled: int,
) -> None:
    """Write a row as a ring entry."""
    words[entry + TIME] = time
    words[entry + ID] = ident
    to = entry + LABEL_WORD
    if labelled:
        words[to] = UNLABELLED
        to += 1
    for f in range(len(fields)):
        column = fields[f, 1]
        if fields[f, 0] == NUMBER:
            words[to + f] = numbers[row, column]
        elif fields[f, 0] == CATEGORY:
            words[to + f] = categories[row, column]
        else:
            words[to + f] = keys[row, column, 1]


@kernel("int64(int64[::1], int64[::1], int64[:, ::1], int64[:, ::1], int64)", inline=True)
def fetch_ahead(words: Int64s, shape: Int64s, classes: Int64s, slots: Int64s, slot: int) -> int:
    """Ask for the memory of the entries that the next event of a key will touch."""
    if slot < 0 or slots[slot, AT] < 0:
        return 0
    at = slots[slot, AT]
    start = words[at + 1]
    capacity = classes[words[at] & 0xFF, CAPACITY]
    stride = shape[STRIDE]
    for b in range(shape[BOUNDS]):
        to = start + (words[at + HEADER + b] >> 32)
        if to >= capacity:
            to -= capacity
        entry = at + shape[HEAD] + to * stride
        # The newest entry is read too, and past each boundary the one after.
        prefetch(words, entry)
        prefetch(words, entry + (stride if b else -stride))
    return int(capacity)


@kernel(
    "int64(int64[:, ::1], int64, int64, int64[::1], int64[::1], int64[:, ::1], int64[:, ::1],"
    " int64[:, :, ::1], int64[::1], int64[::1], int8[::1], float64[:, ::1])"
)
def update(
    table: Int64s,
    entity: int,
    custom: int,
    admitted: Int64s,
    when: Int64s,
    numbers: Int64s,
    categories: Int64s,
    keys: Int64s,
    ident: Int64s,
    known: Int64s,
    value: Int8s,
    out: Float64s,
) -> int:
    """Carry one entity through rows: mark labels, insert events, write their features to `out`.

    table: where the arena, the plan and scratch lie (`lend`), in the order that they are taken out.
    admitted (m,): the row of `out` an event writes to, -1 for rows that are no event. value (m,): a
    label to write on the event (when, ident) after the row, known since `known`; -1 for none.
    `alone` is a record's room for an event too old to be kept. Returns m, or -1 if memory is used
    up.
    """
    words, chunk_before, heads = longs(table, 0), longs(table, 1), longs(table, 2)
    classes, slots = long_rows(table, 3), long_rows(table, 4)
    index, dirty = ints(table, 5), octets(table, 6)
    shape, ages, acc_from = longs(table, 7), longs(table, 8), longs(table, 9)
    accs, ops, fields = long_rows(table, 10), long_rows(table, 11), long_rows(table, 12)
    reals = double_rows(table, 13)
    alone, view, times = longs(table, 14), longs(table, 15), longs(table, 16)
    status, columns = signed(table, 17), long_rows(table, 18)
    numbers, categories, keys, out = borrow(numbers), borrow(categories), borrow(keys), borrow(out)
    found = np.empty(BLOCK, np.int64)
    stride, head, labelled = shape[STRIDE], shape[HEAD], shape[LABELLED]
    mask = len(index) - 1
    for row in range(len(when)):
        ahead = row % BLOCK
        if ahead == 0:
            stop = min(row + BLOCK, len(when))
            for r in range(row, stop):
                prefetch(index, home(keys[r, entity, 0], keys[r, entity, 1]) & mask)
            for r in range(row, stop):
                slot = index[home(keys[r, entity, 0], keys[r, entity, 1]) & mask]
                prefetch(slots, SLOT * (np.int64(slot) - 1))
            for r in range(row, stop):
                slot = find(index, slots, keys[r, entity, 0], keys[r, entity, 1])
                found[r - row] = slot
                if slot >= 0:
                    for w in range(0, head, LINE):
                        prefetch(words, slots[slot, AT] + w)
        if admitted[row] < 0 and value[row] < 0:
            continue
        if ahead + 3 < BLOCK and row + 3 < len(when):
            fetch_ahead(words, shape, classes, slots, found[ahead + 3])
        hi = keys[row, entity, 0]
        lo = keys[row, entity, 1]
        slot = found[ahead]
        if slot < 0 or slots[slot, AT] < 0 or slots[slot, LO] != lo or slots[slot, HI] != hi:
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
            at = slots[slot, AT]
            capacity = classes[words[at] & 0xFF, CAPACITY]
            count = words[at + HEADER] >> 32
            if count:
                last = place(words, shape, at, capacity, count - 1)
                if words[last] <= heads[CLOCK] - shape[RETENTION]:
                    # Whether the sweep has come by and forgotten the key makes no difference.
                    words[at + 1 : at + head] = 0
                    count = 0
            if count == capacity:
                drop_expired(words, shape, at, capacity)
                count = words[at + HEADER] >> 32
                if count == capacity and capacity == shape[CAP]:
                    merge_panes(words, shape, ages, accs, acc_from, at, capacity)
                    count = words[at + HEADER] >> 32
                elif count == capacity:
                    size = class_for(classes, count + 1)
                    at = resize(words, shape, chunk_before, classes, heads, slots, slot, size)
                    if at < 0:
                        return -1
                    capacity = classes[size, CAPACITY]
            newest = True
            gone = False
            if count:
                last = place(words, shape, at, capacity, count - 1)
                newest = words[last] < now or (
                    words[last] == now and words[last + ID] <= ident[row]
                )
                gone = not newest and now <= words[last] - shape[RETENTION]
            record = words
            place_in_ring = count
            if gone:
                record = alone
                at = 0
                capacity = 1
                place_in_ring = 0
                alone[:] = 0
            elif not newest:
                place_in_ring = open_gap(words, shape, at, capacity, now, ident[row])
            to = record[at + 1] + place_in_ring
            to = at + head + stride * (to - capacity if to >= capacity else to)
            gather(record, to, fields, row, numbers, categories, keys, now, ident[row], labelled)
            seen = record
            seen_at = at + HEADER
            if newest or gone:
                advance(record, shape, ages, accs, acc_from, at, capacity, now)
            else:
                settle(words, shape, ages, accs, acc_from, at, capacity, place_in_ring)
            if not newest or record[at + 2] > now:
                look_back(
                    record, shape, ages, accs, acc_from, at, capacity, place_in_ring, now, view
                )
                seen = view
                seen_at = 0
            unrolled = 0
            if shape[SCAN] >= 0:
                first = seen[seen_at + shape[SCAN]] >> 32
                unrolled = place_in_ring + 1 - first
                unroll(
                    record, shape, at, capacity, first, place_in_ring + 1, now, times, status,
                    columns,
                )  # fmt: skip
            read(
                record, shape, ops, reals, at, capacity, place_in_ring, now, seen, seen_at, times,
                status, columns, unrolled, custom, out, admitted[row],
            )  # fmt: skip
            if fresh:
                sweep(words, shape, chunk_before, classes, heads, index, slots, dirty, SWEPT)
        if value[row] >= 0 and slot >= 0 and labelled:
            at = slots[slot, AT]
            if at >= 0:
                dirty[slot] = 1
                capacity = classes[words[at] & 0xFF, CAPACITY]
                mark(
                    words, shape, ages, accs, acc_from, at, capacity, when[row], ident[row],
                    known[row], value[row],
                )  # fmt: skip
    return len(when)
