"""Examples whose label is known, until the bucket closes in which it became known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from operators.drift.bucket import Int64s, Matured
from streams.ident import mix
from streams.jit import kernel

MOST = 100_000
"""Examples kept of a cell of the grid; of more a sample, the same whatever came first."""
_CHUNKS = 64
_NEARLY = 16
"""Steps a row that sorting by insertion may take."""


class Pending:
    """Examples by the cell in which they count. Bytes: 42, and 8 a slice, for each."""

    def __init__(self, slices: int, most: int = MOST) -> None:
        whole = [(name, np.int64) for name in ("cell", "known_us", "time_us", "ident")]
        self._row = np.dtype(
            [*whole, ("score", np.float64), ("codes", np.int64, (slices,)),
             ("y", np.int8), ("cause", np.uint8)]
        )  # fmt: skip
        self._most = most
        self._sorted = np.empty(0, self._row)
        """By cell."""
        self._cells = np.empty(0, np.int64)
        """Their cells."""
        self._fresh: list[npt.NDArray[Any]] = []
        self._count = 0

    def add(self, cell: Int64s, matured: Matured) -> None:
        """Keep examples that count in these cells."""
        rows = np.empty(len(cell), self._row)
        rows["cell"] = cell
        for name in Matured.__slots__:
            rows[name] = getattr(matured, name)
        self._fresh.append(rows)
        self._count += len(rows)
        if len(self._fresh) > _CHUNKS and self._count > len(self._sorted):
            self._settle()

    def take(self, before: int) -> Matured:
        """Take those that count in cells before this one, by (known, ident)."""
        if self._fresh:
            self._settle()
        stop = int(np.searchsorted(self._cells, before))
        rows, self._sorted = self._sorted[:stop], self._sorted[stop:]
        self._cells = self._cells[stop:]
        known, ident = np.ascontiguousarray(rows["known_us"]), np.ascontiguousarray(rows["ident"])
        order = np.empty(len(rows), np.int64)
        if not _in_order(known, ident, order):
            order = np.lexsort((ident, known))
        columns = {name: rows[name][order] for name in Matured.__slots__[3:]}
        return Matured(known[order], rows["time_us"][order], ident[order], **columns)

    def _settle(self) -> None:
        rows = np.concatenate([self._sorted, *self._fresh])
        self._fresh, self._count = [], 0
        rows = rows[np.argsort(rows["cell"], kind="stable")]
        if len(rows) > self._most:
            rows = _thinned(rows, self._most)
        self._sorted, self._cells = rows, np.ascontiguousarray(rows["cell"])

    def state(self) -> npt.NDArray[np.uint8]:
        """All of them, as bytes."""
        self._settle()
        order = np.lexsort(tuple(self._sorted[name] for name in ("ident", "known_us", "cell")))
        return np.asarray(self._sorted[order].view(np.uint8).reshape(-1))

    def load(self, state: npt.NDArray[np.uint8]) -> None:
        """Go on from a `state()`."""
        self._sorted, self._fresh, self._count = state.copy().view(self._row), [], 0
        self._cells = np.ascontiguousarray(self._sorted["cell"])


def _thinned(rows: npt.NDArray[Any], most: int) -> npt.NDArray[Any]:
    """Of each cell those whose ids hash lowest, `most` of them; rows are by cell."""
    draws = np.empty(len(rows), np.uint64)
    _draw(np.ascontiguousarray(rows["ident"]), draws)
    order = np.lexsort((draws, rows["cell"]))
    rows = rows[order]
    first = np.searchsorted(rows["cell"], rows["cell"])
    return rows[np.arange(len(rows)) - first < most]


@kernel("boolean(int64[::1], int64[::1], int64[::1])")
def _in_order(known: Int64s, ident: Int64s, order: Int64s) -> bool:
    """The places by (known, ident), for what is nearly so already; whether it was."""
    left = _NEARLY * len(order)
    for i in range(len(order)):
        at = i
        while at > 0:
            before = order[at - 1]
            if known[before] < known[i] or (
                known[before] == known[i] and ident[before] <= ident[i]
            ):
                break
            order[at] = before
            at -= 1
            left -= 1
            if left < 0:
                return False
        order[at] = i
    return True


@kernel("void(int64[::1], uint64[::1])")
def _draw(idents: Int64s, draws: npt.NDArray[np.uint64]) -> None:
    for i in range(len(idents)):
        draws[i] = mix(np.uint64(idents[i]))
