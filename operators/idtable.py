"""Which log row has an id: a hash table of 4 bytes a slot over rows that know their own ids.

The live rows are `[first, next)` of an append-only log, added in sequence and dropped in sequence.
A slot holds 16 bits of the id's hash and the number of the row's *block*, 2**shift neighbouring
rows, modulo 65,535; a match is looked up in that block, so answers are exact. Blocks widen with the
table (one row up to 65,536 slots, 512 rows at 33 M) and are counted from the moving first row, so
row numbers may grow for ever.

Each id has two buckets of 16 slots and goes to the emptier one (Azar et al., *Balanced
Allocations*, 1994); the second follows from the first and the 16 bits, so equal slots are
interchangeable and dropping needs no tombstone (Fan et al., *Cuckoo Filter*, 2014). Ids that find
both buckets full, made by an adversary, wait in a list that is searched as a whole.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from streams.ident import mix
from streams.jit import borrow, kernel, prefetch

Int64s = npt.NDArray[np.int64]

FIRST, NEXT, SPILLED, SHIFT = range(4)
"""Places in `book`: the first live row, the next to write, ids in the list, log2 of a block."""

HI, LO = 0, 1
"""Words of a row of the log that hold its id."""

BUCKET = 16
AHEAD = 8
BLOCKS = 65_535
_SMALLEST = 1 << 10


class Rows(Protocol):
    """Append-only fixed-width int64 rows under absolute row numbers, on disk or in memory."""

    @property
    def view(self) -> npt.NDArray[Any]:
        """(rows, width), to be taken anew after every `reserve`."""

    def reserve(self, rows: int) -> None:
        """Make rows 0 to rows − 1 writable."""

    def release(self) -> None:
        """Let go of memory that can be had again from disk."""


class ArrayRows:
    """Rows in memory.

    >>> rows = ArrayRows(width=2)
    >>> rows.reserve(3)
    >>> rows.view[2] = 7, 8
    """

    def __init__(self, width: int) -> None:
        self.view: npt.NDArray[Any] = np.zeros((0, width), np.int64)

    def reserve(self, rows: int) -> None:
        if rows > len(self.view):
            grown = np.zeros((max(rows, 2 * len(self.view)), self.view.shape[1]), np.int64)
            grown[: len(self.view)] = self.view
            self.view = grown

    def release(self) -> None:
        """Memory is all there is."""


def slots_for(rows: int) -> int:
    """How many slots hold this many live rows at a load of at most 3/4.

    >>> slots_for(20_000_000)
    33554432
    """
    return max(_SMALLEST, 1 << (rows * 4 // 3).bit_length())


def shift_for(slots: int) -> int:
    """Log2 of the rows in a block, such that fewer than 65,535 blocks are live.

    >>> shift_for(33_554_432)
    9
    """
    return max(0, slots.bit_length() - 17)


@kernel("uint64(int64, int64)")
def spread(hi, lo):  # type: ignore[no-untyped-def]
    """Hash an id, or any two words, to 64 bits."""
    return mix(mix(np.uint64(hi)) + np.uint64(lo))


@kernel("UniTuple(int64, 3)(int64, uint64)")
def places(slots, h):  # type: ignore[no-untyped-def]
    """Where the two buckets of a hash begin, in a table of this many slots, and its 16 bits."""
    mask = np.uint64(slots // BUCKET - 1)
    tag = h >> np.uint64(48)
    one = h & mask
    other = one ^ ((mix(tag) | np.uint64(1)) & mask)
    return np.int64(one) * BUCKET, np.int64(other) * BUCKET, np.int64(tag)


@kernel("void(uint32[::1], int64, int64)")
def expect(slots, hi, lo):  # type: ignore[no-untyped-def]
    """Fetch the buckets of an id that will be asked for a few rows later."""
    one, other, _ = places(len(slots), spread(hi, lo))
    prefetch(slots, one)
    prefetch(slots, other)


@kernel("int64(int64[:, ::1], int64[::1], int64, int64, int64)")
def search_block(ids, book, block, hi, lo):  # type: ignore[no-untyped-def]
    """The live row of a block that has this id, or -1."""
    shift = book[SHIFT]
    base = book[FIRST] >> shift
    begin = (base + (block - base) % BLOCKS) << shift
    for row in range(max(begin, book[FIRST]), min(begin + (1 << shift), book[NEXT])):
        if ids[row, LO] == lo and ids[row, HI] == hi:
            return row
    return -1


@kernel("int64(uint32[::1], int64[::1], int64[:, ::1], int64[::1], uint64, int64, int64)")
def find_row(slots, spill, ids, book, h, hi, lo):  # type: ignore[no-untyped-def]
    """The live row that has this id, whose hash is h, or -1."""
    one, other, tag = places(len(slots), h)
    for begin in (one, other):
        for s in range(begin, begin + BUCKET):
            slot = np.int64(slots[s])
            if slot == 0:
                break
            if slot >> 16 == tag:
                row = search_block(ids, book, (slot & 0xFFFF) - 1, hi, lo)
                if row >= 0:
                    return row
    for s in range(book[SPILLED]):
        if ids[spill[s], LO] == lo and ids[spill[s], HI] == hi:
            return spill[s]
    return -1


@kernel("int64(uint32[::1], int64)")
def filled(slots, begin):  # type: ignore[no-untyped-def]
    """How many slots of a bucket are taken: they are its first ones."""
    for s in range(BUCKET):
        if slots[begin + s] == 0:
            return s
    return BUCKET


@kernel("void(uint32[::1], int64[::1], int64[::1], uint64, int64)")
def add_row(slots, spill, book, h, row):  # type: ignore[no-untyped-def]
    """Enter a row whose id, of hash h, is not there; the list has room."""
    one, other, tag = places(len(slots), h)
    size = filled(slots, one)
    if size > 0:
        rival = filled(slots, other)
        if rival < size:
            one = other
            size = rival
    if size < BUCKET:
        slots[one + size] = np.uint32(tag << 16 | ((row >> book[SHIFT]) % BLOCKS + 1))
    else:
        spill[book[SPILLED]] = row
        book[SPILLED] += 1


@kernel("void(uint32[::1], int64[::1], int64[::1], uint64, int64)")
def drop_row(slots, spill, book, h, row):  # type: ignore[no-untyped-def]
    """Remove a row that is there, of an id of hash h."""
    for s in range(book[SPILLED]):
        if spill[s] == row:
            book[SPILLED] -= 1
            spill[s] = spill[book[SPILLED]]
            return
    one, other, tag = places(len(slots), h)
    wanted = np.uint32(tag << 16 | ((row >> book[SHIFT]) % BLOCKS + 1))
    for begin in (one, other):
        size = filled(slots, begin)
        for s in range(begin, begin + size):
            if slots[s] == wanted:
                slots[s] = slots[begin + size - 1]
                slots[begin + size - 1] = 0
                return


@kernel("void(uint32[::1], int64[::1], int64[:, ::1], int64[::1], int64, int64)")
def add_rows(slots, spill, ids, book, start, stop):  # type: ignore[no-untyped-def]
    """Enter the rows [start, stop) of the log."""
    slots, spill, book = borrow(slots), borrow(spill), borrow(book)
    for row in range(start, stop):
        if row + AHEAD < stop:
            expect(slots, ids[row + AHEAD, HI], ids[row + AHEAD, LO])
        add_row(slots, spill, book, spread(ids[row, HI], ids[row, LO]), row)
