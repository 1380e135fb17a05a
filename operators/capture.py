"""The key records of an arena as they are at one moment, taken out of it bit by bit.

A state of hundreds of megabytes cannot be copied between two events without a pause that every
event behind them feels. So nothing is copied at the moment itself: records that are due are only
marked. Then a few are packed at a time, between batches, and those that a batch is about to change
are packed before it does (copy on write). Together they are the state of that moment.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.arena import AT, CHUNK, NEXT_SLOT, SWEEP, Arena, find
from operators.keyrecords import PREFIX, write_record
from streams.jit import kernel

Int64s = npt.NDArray[np.int64]
Octets = npt.NDArray[np.uint8]
BUFFER = 4 * CHUNK
"""Words packed into one piece: a megabyte."""
LARGEST = PREFIX + CHUNK
"""No packed record has more words."""


@kernel("void(uint8[::1], int64[:, ::1], uint8[::1], int64)")
def _choose(dirty: Octets, slots: Int64s, due: Octets, whole: int) -> None:
    """Mark the live slots that changed, or all of them; none has changed from now on."""
    for slot in range(len(due)):
        due[slot] = (whole or dirty[slot]) and slots[slot, AT] >= 0
        dirty[slot] = 0


@kernel(
    "int64(int64[::1], int64[::1], int64[:, ::1], int64[:, ::1], uint8[::1], int64, int64,"
    " int64[::1], int64[::1])"
)
def pack_range(
    words: Int64s,
    shape: Int64s,
    classes: Int64s,
    slots: Int64s,
    due: Octets,
    first: int,
    most: int,
    out: Int64s,
    filled: Int64s,
) -> int:
    """Pack what is due from slot `first` on, until `most` words were written or `out` has no more
    room for any record. Returns the slot to go on at; `filled` says how far `out` is written.
    """
    slot = first
    stop = filled[0] + most
    while slot < len(due) and filled[0] < stop and len(out) - filled[0] >= LARGEST:
        if due[slot]:
            filled[0] = write_record(words, shape, classes, slots, slot, out, filled[0])
            due[slot] = 0
        slot += 1
    return slot


@kernel(
    "int64(int64[::1], int64[::1], int64[:, ::1], int64[:, ::1], int32[::1], uint8[::1],"
    " int64[:, :, ::1], int64, int64, int64[::1], int64[::1])"
)
def pack_touched(
    words: Int64s,
    shape: Int64s,
    classes: Int64s,
    slots: Int64s,
    index: npt.NDArray[np.int32],
    due: Octets,
    keys: Int64s,
    entity: int,
    first: int,
    out: Int64s,
    filled: Int64s,
) -> int:
    """Pack what is due of the keys of rows from `first` on, until `out` has no more room. Returns
    the row to go on at.
    """
    row = first
    while row < len(keys) and len(out) - filled[0] >= LARGEST:
        slot = find(index, slots, keys[row, entity, 0], keys[row, entity, 1])
        if 0 <= slot < len(due) and due[slot]:
            filled[0] = write_record(words, shape, classes, slots, slot, out, filled[0])
            due[slot] = 0
        row += 1
    return row


class Capture:
    """The records of an arena that changed since the last capture, or with `whole` all of them.

    As they are when this is made: whoever changes the arena calls `before` first. Beside what is
    packed it holds two bytes a key; to mark them takes some nanoseconds each.
    """

    def __init__(self, arena: Arena, shape: Int64s, *, whole: bool) -> None:
        self._arena, self._shape = arena, shape
        self._due = np.empty(int(arena.heads[NEXT_SLOT]), np.uint8)
        _choose(arena.dirty, arena.slots, self._due, int(whole))
        self._chosen = self._due.copy()
        self._next = 0
        self._pieces: list[Int64s] = []
        self._out = np.empty(0, np.int64)
        self._filled = np.zeros(1, np.int64)

    @property
    def done(self) -> bool:
        """Whether all that was due is packed."""
        return self._next == len(self._due)

    def proceed(self, most: int) -> bool:
        """Pack some more, about `most` words; whether that was all."""
        arena = self._arena
        while most > 0 and not self.done:
            self._make_room()
            before = int(self._filled[0])
            self._next = pack_range(
                arena.words, self._shape, arena.classes, arena.slots, self._due, self._next, most,
                self._out, self._filled,
            )  # fmt: skip
            most -= int(self._filled[0]) - before
        return self.done

    def before(self, keys: Int64s, entity: int, swept: int) -> None:
        """Pack what rows with these keys (n, entities, 2) are about to change.

        That is also what the sweep comes by: `swept` slots for each row.
        """
        if self.done:
            return
        arena, row = self._arena, 0
        while row < len(keys):
            self._make_room()
            row = pack_touched(
                arena.words, self._shape, arena.classes, arena.slots, arena.index, self._due, keys,
                entity, row, self._out, self._filled,
            )  # fmt: skip
        self._pack_swept(int(arena.heads[SWEEP]), swept * len(keys))

    def _pack_swept(self, first: int, count: int) -> None:
        slots = int(self._arena.heads[NEXT_SLOT])
        if count >= slots:
            first, count = 0, slots
        self._pack_slots(first, min(first + count, slots))
        self._pack_slots(0, first + count - slots)

    def _pack_slots(self, slot: int, stop: int) -> None:
        arena, stop = self._arena, min(stop, len(self._due))
        while slot < stop:
            self._make_room()
            slot = pack_range(
                arena.words, self._shape, arena.classes, arena.slots, self._due[:stop], slot,
                BUFFER, self._out, self._filled,
            )  # fmt: skip

    def _make_room(self) -> None:
        """Let there be room for a record, however large."""
        if len(self._out) - int(self._filled[0]) < LARGEST:
            self._keep()
            self._out = np.empty(BUFFER, np.int64)

    def _keep(self) -> None:
        if self._filled[0]:
            self._pieces.append(self._out[: int(self._filled[0])])
        self._filled[0] = 0

    def pieces(self) -> list[Int64s]:
        """The packed records, in pieces, all of them."""
        self.proceed(1 << 62)
        self._keep()
        self._out = np.empty(0, np.int64)
        return self._pieces or [self._out]

    def abandon(self) -> None:
        """Count what was chosen as changed again, so that the next capture has it."""
        self._arena.dirty[: len(self._chosen)] |= self._chosen
