"""Examples whose label is known, until all who are told of them have been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.drift.bucket import Int64s, Matured
from streams.ident import mix
from streams.jit import kernel

MOST = 100_000
"""Examples kept of a cell of the grid; of more a sample, the same whatever came first."""
_NEARLY = 16
"""Steps a row that sorting by insertion may take."""
_NAMES = ("known_us", "time_us", "ident", "score", "y", "cause", "codes")
"""What is kept of an example."""


class Pending:
    """Examples by the cell in which they count. Bytes: 42, and 8 a slice, for each.

    Of a cell with more than `most` those are kept whose ids hash lowest, and each stands for as
    many as are left out for it, so that they add up to all.
    """

    def __init__(self, slices: int, most: int = MOST) -> None:
        whole = [(name, np.int64) for name in ("cell", "known_us", "time_us", "ident")]
        self._row = np.dtype(
            [*whole, ("score", np.float64), ("codes", np.int64, (slices,)),
             ("y", np.int8), ("cause", np.uint8)]
        )  # fmt: skip
        self._most = most
        self._rows = _matured(np.empty(0, self._row))
        """By (known, ident)."""
        self._cells = np.empty(0, np.int64)
        """Their cells."""
        self._rising = True
        """Whether those rise as well."""
        self._left_out: dict[int, int] = {}
        """By cell, how many examples are not kept."""
        self._fresh: list[tuple[Int64s, Matured]] = []
        self._count = 0

    def add(self, cell: Int64s, matured: Matured) -> None:
        """Keep examples that count in these cells, of which each is one."""
        self._count += len(cell)
        if self._count > len(self._cells):
            self._fresh.append((cell, matured))
            self._settle()
        else:
            self._fresh.append((cell, _joined([matured])))

    def of(self, first: int, before: int) -> Matured:
        """Those that count in a range of cells, by (known, ident)."""
        if self._fresh:
            self._settle()
        rows: slice | npt.NDArray[np.bool_]
        if self._rising:
            rows = slice(*self._cells.searchsorted((first, before)).tolist())
        else:
            rows = (self._cells >= first) & (self._cells < before)
        found = self._rows[rows]
        if self._left_out:
            found = self._standing(found, self._cells[rows])
        return found

    def _standing(self, found: Matured, cells: Int64s) -> Matured:
        """These, of these cells, each with what it stands for."""
        stands = np.ones(len(cells), np.int64)
        draws = _draws(found.ident)
        for cell, left_out in self._left_out.items():
            mine = np.flatnonzero(cells == cell)
            kept = len(mine)
            upto = np.arange(kept + 1) * (kept + left_out) // max(kept, 1)
            stands[mine[np.argsort(draws[mine], kind="stable")]] = np.diff(upto)
        return replace(found, stands=stands)

    def forget(self, before: int) -> None:
        """Let go of those that count in cells before this one."""
        if self._fresh:
            self._settle()
        rows: slice | npt.NDArray[np.bool_]
        if self._rising:
            rows = slice(int(self._cells.searchsorted(before)), None)
        else:
            rows = self._cells >= before
        self._rows, self._cells = self._rows[rows], self._cells[rows]
        if self._left_out:
            self._left_out = {cell: n for cell, n in self._left_out.items() if cell >= before}

    def _settle(self) -> None:
        cells = np.concatenate([self._cells, *(cell for cell, _ in self._fresh)])
        rows = _joined([self._rows, *(each for _, each in self._fresh)])
        self._fresh, self._count = [], 0
        order = np.empty(len(cells), np.int64)
        if not _in_order(rows.known_us, rows.ident, order):
            order = np.lexsort((rows.ident, rows.known_us))
        moved = np.flatnonzero(order != np.arange(len(order)))
        if len(moved):
            for column in (cells, *(getattr(rows, name) for name in _NAMES)):
                column[moved] = column[order[moved]]
        if len(cells) > self._most:
            kept = _sampled(cells, rows.ident, self._most)
            for cell, n in zip(*np.unique(cells[~kept], return_counts=True), strict=True):
                self._left_out[int(cell)] = self._left_out.get(int(cell), 0) + int(n)
            cells, rows = cells[kept], rows[kept]
        self._rows, self._cells = rows, cells
        self._rising = bool((cells[1:] >= cells[:-1]).all())

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All of them, as bytes; cells of which some are left out, and how many."""
        if self._fresh:
            self._settle()
        rows = np.empty(len(self._cells), self._row)
        rows["cell"] = self._cells
        for name in _NAMES:
            rows[name] = getattr(self._rows, name)
        left_out = np.array(sorted(self._left_out.items()), np.int64)
        return {"rows": rows.view(np.uint8).reshape(-1), "left out": left_out.reshape(-1, 2)}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a `state()`."""
        rows = state["rows"].copy().view(self._row)
        self._rows, self._cells = _matured(rows), np.ascontiguousarray(rows["cell"])
        self._rising = bool((self._cells[1:] >= self._cells[:-1]).all())
        self._left_out = dict(state["left out"].tolist())
        self._fresh, self._count = [], 0


def _matured(rows: npt.NDArray[Any]) -> Matured:
    return Matured(*(np.ascontiguousarray(rows[name]) for name in _NAMES))


def _joined(parts: Sequence[Matured]) -> Matured:
    """A copy of all."""
    return Matured(*(np.concatenate([getattr(each, name) for each in parts]) for name in _NAMES))


def _sampled(cells: Int64s, ident: Int64s, most: int) -> npt.NDArray[np.bool_]:
    """Of each cell those whose ids hash lowest, `most` of them."""
    order = np.lexsort((_draws(ident), cells))
    first = np.searchsorted(cells[order], cells[order])
    kept = np.empty(len(cells), np.bool_)
    kept[order] = np.arange(len(cells)) - first < most
    return kept


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


def _draws(idents: Int64s) -> npt.NDArray[np.uint64]:
    draws = np.empty(len(idents), np.uint64)
    _draw(idents, draws)
    return draws


@kernel("void(int64[::1], uint64[::1])")
def _draw(idents: Int64s, draws: npt.NDArray[np.uint64]) -> None:
    for i in range(len(idents)):
        draws[i] = mix(np.uint64(idents[i]))
