"""Where the embedded host keeps key records: a table of keys and slabs of records by size class.

Records of one size lie densely in chunks. Freeing one moves the last record of its class into the
hole, an empty chunk returns to the common pool, and a key whose events have all expired is
forgotten by a sweep that new keys drive. So memory follows the live keys, whatever came before. The
chunks lie in one reserved range of address space: growing copies nothing and untouched pages cost
nothing.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operators.ring import CAP, HEAD, HEADER, RETENTION, STRIDE, drop_expired, place
from streams.ident import mix
from streams.jit import kernel

Int64s = npt.NDArray[np.int64]

NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
"""Python 3.11 lacks the name; this is Linux's value."""
CHUNK = 1 << 15
"""Words in a chunk; every record fits in one."""
CAPACITY, WORDS, LAST, USED = range(4)
"""Columns of `classes`: events a record holds, its words, the newest chunk (-1: none), records in
that chunk."""
FREE_CHUNK, NEXT_CHUNK, LIVE, FREE_SLOT, NEXT_SLOT, CLOCK, SWEEP, DIRTY, LIMIT = range(9)
"""Places in `heads`."""
SLOT = 3
HI, LO, AT = range(SLOT)
"""Columns of `slots`: the key's ident, and where its record begins (-1: a free slot, whose LO is
the next free one)."""


@dataclass(slots=True)
class Arena:
    """The records of one entity.

    Raises MemoryError when the reserved range is used up.
    """

    words: Int64s
    chunk_before: Int64s
    classes: Int64s
    heads: Int64s
    index: npt.NDArray[np.int32]
    slots: Int64s
    dirty: npt.NDArray[np.uint8]
    room: int = 0
    """Rows that can come before `make_room` has to look again."""
    moves: int = 0
    """How often arrays were replaced by larger ones."""

    @classmethod
    def reserve(cls, shape: Int64s, limit_bytes: int | None = None) -> Arena:
        """An empty arena for records of a plan's shape; `limit_bytes` defaults to the machine's
        memory.
        """
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        chunks = max((limit_bytes or memory) // (8 * CHUNK), 64)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE
        try:
            words = np.frombuffer(mmap.mmap(-1, chunks * CHUNK * 8, flags=flags), np.int64)
        except OSError as error:
            raise MemoryError(
                f"key records want {chunks * CHUNK * 8 >> 20} MiB of address space (nothing of it "
                f"is used until it is needed), got {error.strerror}: raise `ulimit -v`"
            ) from error
        heads = np.array([-1, 0, 0, -1, 0, 0, 0, 0, chunks], np.int64)
        return cls(
            words=words,
            chunk_before=np.full(chunks, -1, np.int64),
            classes=size_classes(shape),
            heads=heads,
            index=np.zeros(1024, np.int32),
            slots=np.empty((512, 3), np.int64),
            dirty=np.zeros(512, np.uint8),
        )

    def make_room(self, keys: int) -> None:
        """Let that many new keys come without growing on the way."""
        self.room -= keys
        if self.room >= 0:
            return
        self.moves += 1
        need = int(self.heads[LIVE]) + keys
        if 3 * need > 2 * len(self.index):
            size = len(self.index)
            while 3 * need > 2 * size:
                size *= 2
            self.index = np.zeros(size, np.int32)
            rebuild_index(self.index, self.slots, self.heads[NEXT_SLOT])
        need = int(self.heads[NEXT_SLOT]) + keys
        if need > len(self.slots):
            used = int(self.heads[NEXT_SLOT])
            slots = np.empty((max(need, 2 * len(self.slots)), 3), np.int64)
            slots[:used] = self.slots[:used]
            dirty = np.zeros(len(slots), np.uint8)
            dirty[:used] = self.dirty[:used]
            self.slots, self.dirty = slots, dirty
        in_index = 2 * len(self.index) // 3 - int(self.heads[LIVE])
        self.room = min(in_index, len(self.slots) - int(self.heads[NEXT_SLOT])) - keys

    @property
    def keys(self) -> int:
        """How many keys are held."""
        return int(self.heads[LIVE])

    @property
    def nbytes(self) -> int:
        """Bytes of memory touched by records, slots and index."""
        chunks = int(self.heads[NEXT_CHUNK]) * CHUNK * 8
        return chunks + int(self.heads[NEXT_SLOT]) * 25 + self.index.nbytes


def size_classes(shape: Int64s) -> Int64s:
    """Capacities two events to the cap, each about a fifth above the last."""
    capacities = [2]
    while capacities[-1] < shape[CAP]:
        capacities.append(min(max(capacities[-1] + 1, capacities[-1] * 6 // 5), int(shape[CAP])))
    header = int(shape[HEAD])
    rows = [(size, header + size * int(shape[STRIDE]), -1, 0) for size in capacities]
    if rows[-1][WORDS] > CHUNK:
        most = (CHUNK - header) // int(shape[STRIDE])
        raise ValueError(
            f"a cap of {int(shape[CAP])} events needs {8 * rows[-1][WORDS]} bytes a key; "
            f"a record holds at most {8 * CHUNK}: set a cap of {most} or less"
        )
    return np.array(rows, np.int64)


@kernel("int64(int64, int64)")
def home(hi: int, lo: int) -> int:
    """Where a key's search begins, before masking."""
    return int(mix(np.uint64(hi) ^ np.uint64(lo)) >> np.uint64(1))


@kernel("void(int32[::1], int64[:, ::1], int64)")
def rebuild_index(index: npt.NDArray[np.int32], slots: Int64s, count: int) -> None:
    """Enter every live slot into an empty index."""
    mask = len(index) - 1
    for slot in range(count):
        if slots[slot, AT] >= 0:
            at = home(slots[slot, HI], slots[slot, LO]) & mask
            while index[at]:
                at = (at + 1) & mask
            index[at] = slot + 1


@kernel("int64(int32[::1], int64[:, ::1], int64, int64)")
def find(index: npt.NDArray[np.int32], slots: Int64s, hi: int, lo: int) -> int:
    """The slot of a key, or -1."""
    mask = len(index) - 1
    at = home(hi, lo) & mask
    while index[at]:
        slot = np.int64(index[at]) - 1
        if slots[slot, LO] == lo and slots[slot, HI] == hi:
            return int(slot)
        at = (at + 1) & mask
    return -1


@kernel("int64(int64[::1], int64[:, ::1], int64[::1], int64)")
def allocate(chunk_before: Int64s, classes: Int64s, heads: Int64s, size: int) -> int:
    """A record's worth of words of a size class, or -1 when the reserved range is used up."""
    words = classes[size, WORDS]
    if classes[size, LAST] < 0 or (classes[size, USED] + 1) * words > CHUNK:
        chunk = heads[FREE_CHUNK]
        if chunk >= 0:
            heads[FREE_CHUNK] = chunk_before[chunk]
        else:
            chunk = heads[NEXT_CHUNK]
            if chunk >= heads[LIMIT]:
                return -1
            heads[NEXT_CHUNK] += 1
        chunk_before[chunk] = classes[size, LAST]
        classes[size, LAST] = chunk
        classes[size, USED] = 0
    at = classes[size, LAST] * CHUNK + classes[size, USED] * words
    classes[size, USED] += 1
    return int(at)


@kernel("void(int64[::1], int64[::1], int64[:, ::1], int64[::1], int64[:, ::1], int64)")
def release(
    words: Int64s, chunk_before: Int64s, classes: Int64s, heads: Int64s, slots: Int64s, at: int
) -> None:
    """Give a record back: the last of its class fills the hole."""
    size = words[at] & 0xFF
    count = classes[size, WORDS]
    classes[size, USED] -= 1
    last = classes[size, LAST] * CHUNK + classes[size, USED] * count
    if last != at:
        for w in range(count):
            words[at + w] = words[last + w]
        slots[words[at] >> 8, AT] = at
    if classes[size, USED] == 0:
        chunk = classes[size, LAST]
        classes[size, LAST] = chunk_before[chunk]
        chunk_before[chunk] = heads[FREE_CHUNK]
        heads[FREE_CHUNK] = chunk
        if classes[size, LAST] >= 0:
            classes[size, USED] = CHUNK // count


@kernel("int64(int64[:, ::1], int64)")
def class_for(classes: Int64s, events: int) -> int:
    """The smallest size class that holds so many events."""
    size = 0
    while size < len(classes) - 1 and classes[size, CAPACITY] < events:
        size += 1
    return size


@kernel(
    "int64(int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int64[:, ::1],"
    " int64, int64)"
)
def resize(
    words: Int64s,
    shape: Int64s,
    chunk_before: Int64s,
    classes: Int64s,
    heads: Int64s,
    slots: Int64s,
    slot: int,
    size: int,
) -> int:
    """Move a key's record to another size class. Returns its new place, or -1 when memory is used
    up.
    """
    target = allocate(chunk_before, classes, heads, size)
    if target < 0:
        return -1
    source = slots[slot, AT]
    capacity = classes[words[source] & 0xFF, CAPACITY]
    header = shape[HEAD]
    for w in range(2, header):
        words[target + w] = words[source + w]
    count = words[source + HEADER] >> 32
    stride = shape[STRIDE]
    to = target + header
    for i in range(count):
        entry = place(words, shape, source, capacity, i)
        for w in range(stride):
            words[to + w] = words[entry + w]
        to += stride
    words[target] = slot << 8 | size
    words[target + 1] = 0
    slots[slot, AT] = target
    release(words, chunk_before, classes, heads, slots, source)
    return int(slots[slot, AT])


@kernel(
    "int64(int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int32[::1],"
    " int64[:, ::1], int64, int64)"
)
def add_key(
    words: Int64s,
    shape: Int64s,
    chunk_before: Int64s,
    classes: Int64s,
    heads: Int64s,
    index: npt.NDArray[np.int32],
    slots: Int64s,
    hi: int,
    lo: int,
) -> int:
    """A new key with an empty record. Returns its slot, or -1 when memory is used up."""
    at = allocate(chunk_before, classes, heads, 0)
    if at < 0:
        return -1
    slot = heads[FREE_SLOT]
    if slot >= 0:
        heads[FREE_SLOT] = slots[slot, LO]
    else:
        slot = heads[NEXT_SLOT]
        heads[NEXT_SLOT] += 1
    slots[slot, HI] = hi
    slots[slot, LO] = lo
    slots[slot, AT] = at
    for w in range(shape[HEAD]):
        words[at + w] = 0
    words[at] = slot << 8
    mask = len(index) - 1
    spot = home(hi, lo) & mask
    while index[spot]:
        spot = (spot + 1) & mask
    index[spot] = slot + 1
    heads[LIVE] += 1
    return int(slot)


@kernel("void(int64[::1], int64[::1], int64[:, ::1], int64[::1], int32[::1], int64[:, ::1], int64)")
def forget_key(
    words: Int64s,
    chunk_before: Int64s,
    classes: Int64s,
    heads: Int64s,
    index: npt.NDArray[np.int32],
    slots: Int64s,
    slot: int,
) -> None:
    """Drop a key and its record; the index closes the gap by shifting back (Knuth 6.4, algorithm
    R).
    """
    mask = len(index) - 1
    hole = home(slots[slot, HI], slots[slot, LO]) & mask
    while index[hole] != slot + 1:
        hole = (hole + 1) & mask
    at = (hole + 1) & mask
    while index[at]:
        other = np.int64(index[at]) - 1
        wanted = home(slots[other, HI], slots[other, LO]) & mask
        if ((at - wanted) & mask) >= ((at - hole) & mask):
            index[hole] = index[at]
            hole = at
        at = (at + 1) & mask
    index[hole] = 0
    release(words, chunk_before, classes, heads, slots, slots[slot, AT])
    slots[slot, AT] = -1
    slots[slot, LO] = heads[FREE_SLOT]
    heads[FREE_SLOT] = slot
    heads[LIVE] -= 1


@kernel(
    "void(int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int32[::1], int64[:, ::1],"
    " uint8[::1], int64)"
)
def sweep(
    words: Int64s,
    shape: Int64s,
    chunk_before: Int64s,
    classes: Int64s,
    heads: Int64s,
    index: npt.NDArray[np.int32],
    slots: Int64s,
    dirty: npt.NDArray[np.uint8],
    steps: int,
) -> None:
    """Look at the next few slots: forget keys that nothing can see, shrink records grown large."""
    if heads[NEXT_SLOT] == 0:
        return
    for _ in range(steps):
        slot = heads[SWEEP]
        heads[SWEEP] = slot + 1 if slot + 1 < heads[NEXT_SLOT] else 0
        at = slots[slot, AT]
        if at < 0:
            continue
        size = words[at] & 0xFF
        capacity = classes[size, CAPACITY]
        drop_expired(words, shape, at, capacity)
        count = words[at + HEADER] >> 32
        newest = words[place(words, shape, at, capacity, count - 1)] if count else 0
        if newest <= heads[CLOCK] - shape[RETENTION]:
            forget_key(words, chunk_before, classes, heads, index, slots, slot)
            dirty[slot] = 1
        elif 2 * count < capacity:
            resize(
                words, shape, chunk_before, classes, heads, slots, slot, class_for(classes, count)
            )
