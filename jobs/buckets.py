"""Rows on disk, spread by their first two words, so that what belongs together is met together.

However many rows there are, one bucket at a time fits into memory.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt

from streams.errors import OutputError

Int64s = npt.NDArray[np.int64]
BUCKETS = 32
_BUFFER = 1 << 16
_ODD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)


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
        self._open = ExitStack()
        self._files = [
            self._open.enter_context(path.open("wb", buffering=_BUFFER)) for path in self._paths
        ]

    def add(self, rows: Int64s) -> None:
        """Add rows. Raises OutputError when the disk is full."""
        words = rows[:, :2].astype(np.uint64)
        mixed = words[:, 0] * np.uint64(_ODD[0]) + words[:, 1] * np.uint64(_ODD[1])
        mixed ^= mixed >> np.uint64(29)
        number = (mixed * np.uint64(_ODD[0])) >> np.uint64(59)
        order = np.argsort(number, kind="stable")
        sorted_rows = np.ascontiguousarray(rows[order], np.int64)
        bounds = np.searchsorted(number[order], np.arange(BUCKETS + 1, dtype=np.uint64))
        try:
            for file, start, stop in zip(self._files, bounds, bounds[1:], strict=False):
                file.write(sorted_rows[start:stop].data)
        except OSError as error:
            raise OutputError(
                f"{self._paths[0].parent}: wanted room for the ledger's ids, got "
                f"{error.strerror}; make room or set TMPDIR to another disk, then run again"
            ) from None

    def bucket(self, number: int) -> Int64s:
        """The rows of a bucket, in the order in which they were added; nothing is added after."""
        self._open.close()
        return np.fromfile(self._paths[number], np.int64).reshape(-1, self._width)
