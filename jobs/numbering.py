"""The numbers of events: unique for good, in whatever jobs their state goes on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streams.atomic import write_whole

Int64s = npt.NDArray[np.int64]
NAME, NUMBERS = "numbering.json", "numbers.npy"


class _Kept(msgspec.Struct, frozen=True):
    base: int
    moved: int


@dataclass(frozen=True, slots=True)
class Numbering:
    """The numbers of the events of lane `lane` of `lanes`, by their rows in its index.

    The first rows may have been brought from another job, and keep the numbers that they had. Those
    after them are numbered `base` + place × `lanes` + `lane`, places counted from there.

    >>> Numbering(1, 4, base=20, brought=np.array([7, 3])).of(np.array([1, 2, 3, -1])).tolist()
    [3, 21, 25, -1]
    """

    lane: int = 0
    lanes: int = 1
    base: int = 0
    """No event was numbered this or higher by the jobs that this state comes from."""
    moved: int = 0
    """How many events those have numbered."""
    brought: Int64s = field(default_factory=lambda: np.empty(0, np.int64))
    """The numbers of the first rows."""

    def of(self, rows: Int64s) -> Int64s:
        """The numbers of events by their rows; -1 stays -1."""
        if self.lanes == 1 and not self.base:
            return rows
        count = len(self.brought)
        numbers = (rows - count) * self.lanes + (self.base + self.lane)
        numbers[rows < 0] = -1
        if count and (old := rows < count).any():
            known = np.flatnonzero(old & (rows >= 0))
            numbers[known] = self.brought[rows[known]]
        return numbers

    def place(self, row: int) -> int:
        """Which of the events numbered here is in a row, from 0; -1 for one that was brought."""
        return max(row - len(self.brought), -1)

    def about(self, next_row: int, first_row: int) -> dict[str, Any]:
        """What outcomes say of it: see `streams.records.Outcomes`."""
        return {
            "next": self.place(next_row),
            "first": self.place(first_row),
            "lane": self.lane,
            "lanes": self.lanes,
            "base": self.base,
            "moved": self.moved,
        }

    def keep(self, folder: Path) -> None:
        """Keep it beside the state of one process, for good."""
        with (folder / NUMBERS).open("wb") as file:
            np.save(file, self.brought, allow_pickle=False)
        write_whole(folder / NAME, [msgspec.json.encode(_Kept(self.base, self.moved))])

    @classmethod
    def of_folder(cls, folder: Path) -> Numbering:
        """What `keep` left there; that of a state which began there where it did not."""
        path = folder / NAME
        if not path.exists():
            return cls()
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
        brought = np.load(folder / NUMBERS, mmap_mode="r", allow_pickle=False)
        return replace(cls(), base=kept.base, moved=kept.moved, brought=brought)
