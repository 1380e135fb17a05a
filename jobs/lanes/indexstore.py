"""How the index of a lane lies in its store: what is under which key."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from jobs.lanes.store import Store
from jobs.numbering import Numbering

Int64s = npt.NDArray[np.int64]
BOOK, ROWS, LABELS, WAITING, ORIGIN, NUMBERS = b"b", b"r", b"l", b"w", b"o", b"n"
"""What a key begins with: of the book; of rows of ids, from a row on; of the label of a row; of the
label that waits for an id. In a state that comes from another job: of where numbers begin, and of
the numbers of rows, from a row on."""
ROW = struct.Struct(">cq")
IDENT = struct.Struct(">cqq")
WORD = struct.Struct("<qq")
_BEGAN = struct.Struct("<qqq")
BROUGHT = 1024
"""Rows that lie under one key when they come from another job."""

NEXT, FIRST, CURSOR, CLOCK, NEWEST, WAITED, TOLD, OUTCOMES, COUNTED = range(9)
"""Words of the book: rows are counted from the lane's first event on; `WAITED` is how many labels
ever waited, which is their order; from `COUNTED` on the index's counts."""


@dataclass(frozen=True, slots=True)
class KeptIndex:
    """What a store says of the index of its lane."""

    book: Int64s
    numbering: Numbering
    chunks: list[tuple[int, Int64s]]
    """First row, and rows (n, words): those under one key, in order. Some may be forgotten."""
    labels: list[tuple[int, int]]
    """Row and word; some may be forgotten."""
    waiting: list[tuple[int, int, int, int]]
    """Turn, word and id, in turn."""

    @classmethod
    def of(cls, store: Store, lane: int, lanes: int, words: int) -> Self | None:
        """What this store says, of rows of so many words; None where there never was any."""
        raw = store.get(BOOK)
        if raw is None:
            return None
        numbering = _numbering(store, lane, lanes)
        found = cls(np.frombuffer(raw, np.int64).copy(), numbering, [], [], [])
        for key, value in store.items():
            if key[:1] == ROWS:
                rows = np.frombuffer(value, np.int64).reshape(-1, words)
                found.chunks.append((ROW.unpack(key)[1], rows))
            elif key[:1] == LABELS:
                found.labels.append((ROW.unpack(key)[1], WORD.unpack(value)[0]))
            elif key[:1] == WAITING:
                word, turn = WORD.unpack(value)
                found.waiting.append((turn, word, *IDENT.unpack(key)[1:]))
        found.chunks.sort(key=lambda chunk: chunk[0])
        found.waiting.sort()
        return found

    def ids(self) -> Int64s:
        """The rows that are not forgotten."""
        first = int(self.book[FIRST])
        live = [rows[max(first - start, 0) :] for start, rows in self.chunks]
        return np.concatenate(live) if live else np.empty((0, 0), np.int64)

    def put(self, store: Store) -> None:
        """Let an empty store say so; rows are those of one chunk, the first."""
        numbering, entries = self.numbering, {BOOK: self.book.tobytes()}
        ((_, rows),) = self.chunks
        brought = numbering.brought
        entries[ORIGIN] = _BEGAN.pack(numbering.base, numbering.moved, len(brought))
        for start in range(0, len(rows), BROUGHT):
            these = slice(start, start + BROUGHT)
            entries[ROW.pack(ROWS, start)] = rows[these].tobytes()
            entries[ROW.pack(NUMBERS, start)] = brought[these].tobytes()
        for row, word in self.labels:
            entries[ROW.pack(LABELS, row)] = WORD.pack(word, 0)
        for turn, word, *ident in self.waiting:
            entries[IDENT.pack(WAITING, *ident)] = WORD.pack(word, turn)
        store.put_all(entries)


def _numbering(store: Store, lane: int, lanes: int) -> Numbering:
    raw = store.get(ORIGIN)
    if raw is None:
        return Numbering(lane, lanes)
    base, moved, count = _BEGAN.unpack(raw)
    brought = np.full(count, -1)
    for start in range(0, count, BROUGHT):
        numbers = store.get(ROW.pack(NUMBERS, start))
        if numbers is not None:  # else all of them are forgotten
            brought[start : start + BROUGHT] = np.frombuffer(numbers, np.int64)
    return Numbering(lane, lanes, base, moved, brought)
