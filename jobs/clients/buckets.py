"""Rows on disk, spread by their first two words, so that what belongs together is met together.

However many rows there are, one bucket at a time fits into memory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from streams.errors import OutputError

Int64s = npt.NDArray[np.int64]
BUCKETS = 32
SPILLED = 65_536
"""Rows that wait in memory until they are written."""
_BITS = np.uint64(64 - 5)
_ODD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)


class Buckets:
    """Rows (n, width) of int64, the first two words an ident or, with a zero before it, a number.

    >>> rows = Buckets(Path(getfixture("tmp_path")), "rows", 3)
    >>> rows.add(np.array([[0, 7, 1], [0, 8, 2], [0, 7, 3]]))
    >>> sorted(row[2] for number in range(BUCKETS) for row in rows.bucket(number).tolist())
    [1, 2, 3]
    """

    def __init__(self, folder: Path, name: str, width: int) -> None:
        self._paths = [folder / f"{name}.{number}" for number in range(BUCKETS)]
        self._width = width
        self._waiting: list[Int64s] = []
        self._rows = 0

    def add(self, rows: Int64s) -> None:
        """Add rows. Raises OutputError when the disk is full."""
        self._waiting.append(rows)
        self._rows += len(rows)
        if self._rows >= SPILLED:
            self._spill()

    def bucket(self, number: int) -> Int64s:
        """The rows of a bucket, in the order in which they were added."""
        if self._rows:
            self._spill()
        path = self._paths[number]
        rows = np.fromfile(path, np.int64) if path.exists() else np.empty(0, np.int64)
        return rows.reshape(-1, self._width)

    def _spill(self) -> None:
        rows = np.concatenate(self._waiting)
        self._waiting, self._rows = [], 0
        number = _bucket_of(rows[:, :2].astype(np.uint64))
        order = np.argsort(number, kind="stable")
        placed = np.ascontiguousarray(rows[order])
        bounds = np.searchsorted(number[order], np.arange(BUCKETS + 1, dtype=np.uint64)).tolist()
        try:
            for path, start, stop in zip(self._paths, bounds, bounds[1:], strict=False):
                if stop > start:
                    with path.open("ab") as file:
                        file.write(placed[start:stop].data)
        except OSError as error:
            raise OutputError(
                f"{self._paths[0].parent}: wanted room for the ids of the topics, got "
                f"{error.strerror}; make room, or set TMPDIR to a larger disk, then run again"
            ) from None


def _bucket_of(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    mixed = words[:, 0] * _ODD[0] + words[:, 1] * _ODD[1]
    mixed ^= mixed >> np.uint64(29)
    return np.asarray((mixed * _ODD[0]) >> _BITS)
