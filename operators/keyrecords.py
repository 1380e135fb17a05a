"""Key records on the move: out of an arena as one run of int64, and back into one.

A packed record is hi, lo, events, then the record's words after the first two, its events oldest
first. It says nothing of where or how large the record was, so it fits any arena, and any host,
with the same plan.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.arena import (
    AT,
    CAPACITY,
    CHUNK,
    CLOCK,
    HI,
    LO,
    Arena,
    add_key,
    class_for,
    find,
    resize,
)
from operators.ring import HEAD, HEADER, STRIDE, place
from streams.jit import kernel

Int64s = npt.NDArray[np.int64]
PREFIX = 3
"""Words before the record's own."""


@kernel("int64(int64[::1], int64[::1], int64[:, ::1], int64[:, ::1], int64, int64[::1], int64)")
def write_record(
    words: Int64s,
    shape: Int64s,
    classes: Int64s,
    slots: Int64s,
    slot: int,
    out: Int64s,
    to: int,
) -> int:
    """Write a live slot's record to `out` from `to` on. Returns where it ends."""
    own = shape[HEAD] - 2
    at = slots[slot, AT]
    count = words[at + HEADER] >> 32
    out[to] = slots[slot, HI]
    out[to + 1] = slots[slot, LO]
    out[to + 2] = count
    to += PREFIX
    for w in range(own):
        out[to + w] = words[at + 2 + w]
    to += own
    capacity = classes[words[at] & 0xFF, CAPACITY]
    for i in range(count):
        entry = place(words, shape, at, capacity, i)
        for w in range(shape[STRIDE]):
            out[to + w] = words[entry + w]
        to += shape[STRIDE]
    return int(to)


@kernel(
    "int64(int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int32[::1],"
    " int64[:, ::1], int64[::1])"
)
def _unpack(
    words: Int64s,
    shape: Int64s,
    chunk_before: Int64s,
    classes: Int64s,
    heads: Int64s,
    index: npt.NDArray[np.int32],
    slots: Int64s,
    packed: Int64s,
) -> int:
    """Put packed records in place of any that are there. Returns -1 if memory is used up."""
    own = shape[HEAD] - 2
    source = 0
    while source < len(packed):
        hi, lo, count = packed[source], packed[source + 1], packed[source + 2]
        slot = find(index, slots, hi, lo)
        if slot < 0:
            slot = add_key(words, shape, chunk_before, classes, heads, index, slots, hi, lo)
            if slot < 0:
                return -1
        at = slots[slot, AT]
        words[at + 1] = 0
        words[at + HEADER] = 0
        size = class_for(classes, count)
        if size != words[at] & 0xFF:
            at = resize(words, shape, chunk_before, classes, heads, slots, slot, size)
            if at < 0:
                return -1
        for w in range(own + count * shape[STRIDE]):
            words[at + 2 + w] = packed[source + PREFIX + w]
        source += PREFIX + own + count * shape[STRIDE]
    return 0


@kernel("int64(int32[::1], int64[:, ::1], int64[:, :, ::1], int64, int64[::1])")
def absent(
    index: npt.NDArray[np.int32], slots: Int64s, keys: Int64s, entity: int, out: Int64s
) -> int:
    """Write the rows whose key has no record; returns how many."""
    n = 0
    for row in range(len(keys)):
        hi = keys[row, entity, 0]
        lo = keys[row, entity, 1]
        if find(index, slots, hi, lo) < 0:
            out[n] = row
            n += 1
    return n


@kernel(
    "int64(int64[::1], int64[::1], int64[:, ::1], int64[:, ::1], int32[::1], uint8[::1],"
    " int64[:, :, ::1], int64, int64, int64[::1], int64[::1])"
)
def pack_changed(
    words: Int64s,
    shape: Int64s,
    classes: Int64s,
    slots: Int64s,
    index: npt.NDArray[np.int32],
    dirty: npt.NDArray[np.uint8],
    keys: Int64s,
    entity: int,
    first: int,
    out: Int64s,
    ends: Int64s,
) -> int:
    """Pack the changed records of the keys of rows from `first` on, each once, until `out` is full.

    `ends` takes where each ends, after how many there are. Returns the row to go on at.
    """
    row = first
    to = 0
    n = 0
    while row < len(keys) and len(out) - to >= PREFIX + CHUNK:
        slot = find(index, slots, keys[row, entity, 0], keys[row, entity, 1])
        if slot >= 0 and dirty[slot]:
            to = write_record(words, shape, classes, slots, slot, out, to)
            dirty[slot] = 0
            n += 1
            ends[n] = to
        row += 1
    ends[0] = n
    return row


@kernel("int64(int64[::1], int64[::1])")
def _count(shape: Int64s, packed: Int64s) -> int:
    own = PREFIX + shape[HEAD] - 2
    records = 0
    source = 0
    while source < len(packed):
        source += own + packed[source + 2] * shape[STRIDE]
        records += 1
    return records


@kernel("int64(int64[::1], int64[::1], int64[::1])")
def _ends(shape: Int64s, packed: Int64s, out: Int64s) -> int:
    own = PREFIX + shape[HEAD] - 2
    records = 0
    source = 0
    while source < len(packed):
        source += own + packed[source + 2] * shape[STRIDE]
        out[records] = source
        records += 1
    return records


def ends_of(packed: Int64s, shape: Int64s) -> Int64s:
    """Where each of a run of packed records ends."""
    out = np.empty(_count(shape, packed), np.int64)
    _ends(shape, packed, out)
    return out


def pack(arena: Arena, shape: Int64s, slot: int) -> Int64s:
    """The record of a live slot."""
    out = np.empty(PREFIX + CHUNK, np.int64)
    end = write_record(arena.words, shape, arena.classes, arena.slots, slot, out, 0)
    return out[:end].copy()


def unpack(arena: Arena, shape: Int64s, packed: Int64s) -> None:
    """Put packed records into an arena; a key that is there already is replaced.

    Raises MemoryError when the arena is used up.
    """
    arena.make_room(_count(shape, packed))
    done = _unpack(
        arena.words, shape, arena.chunk_before, arena.classes, arena.heads, arena.index,
        arena.slots, packed,
    )  # fmt: skip
    if done < 0:
        raise MemoryError("the records in this state need more memory than there is")


def newest_us(packed: Int64s, shape: Int64s) -> int:
    """The time of a packed record's newest event, microseconds; it has at least one."""
    return int(packed[len(packed) - shape[STRIDE]])


def clock(arena: Arena) -> int:
    """The latest event time the arena has seen, in microseconds."""
    return int(arena.heads[CLOCK])


def set_clock(arena: Arena, time_us: int) -> None:
    """Say the latest event time after `unpack`."""
    arena.heads[CLOCK] = time_us
