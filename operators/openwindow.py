"""The examples of a window that is still open: plain columns, or bins once they are too many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.metrics import Floats, Ints
from operators.scorebins import ScoreBins


class Examples(NamedTuple):
    """Columns of n examples; `group` (n, 1 + slices) has 0, for all, then one a slice or -1."""

    score: Floats
    customer: Ints
    label: NDArray[np.int8]
    group: NDArray[np.int32]

    @staticmethod
    def joined(parts: Sequence[Examples]) -> Examples:
        """One after the other."""
        return Examples._make(np.concatenate(columns) for columns in zip(*parts, strict=True))

    def take(self, rows: Ints) -> Examples:
        """Those at these places."""
        return Examples._make(column.take(rows, axis=0) for column in self)

    def cut(self, start: int, stop: int) -> Examples:
        """A run of them, without copying."""
        return Examples._make(column[start:stop] for column in self)

    def copy(self) -> Examples:
        """The same in memory of their own."""
        return Examples._make(column.copy() for column in self)


class OpenWindow:
    """Examples of an open window: kept as they are up to a number, counted in bins beyond it."""

    def __init__(self, rows: Examples, used: int = 0, bins: ScoreBins | None = None) -> None:
        self.rows = rows
        self.used = used
        self.bins = bins

    def held(self) -> Examples:
        """What is kept as it came; nothing once it is binned."""
        return self.rows.cut(0, 0 if self.bins else self.used)

    def add(self, examples: Examples, limit: int, new_bins: Callable[[], ScoreBins]) -> None:
        """Take more; beyond `limit` in all, everything goes to bins."""
        used = self.used + len(examples.label)
        if used > limit and not self.bins:
            examples = Examples.joined([self.held(), examples])
            self.rows = self.rows.cut(0, 0).copy()
            self.bins = new_bins()
        if self.bins:
            self.bins.add(examples.group, examples.score, examples.label)
        else:
            if used > len(self.rows.label):
                spare = examples.take(np.zeros(used + used // 2 - self.used, np.int64))
                self.rows = Examples.joined([self.held(), spare])
            rows = self.rows.cut(self.used, used)
            rows.score[:] = examples.score
            rows.customer[:] = examples.customer
            rows.label[:] = examples.label
            rows.group[:] = examples.group
        self.used = used
