"""The latest examples, in order: what a model is taught that begins anew."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.base import Floats, Labels, Tensors

Int64s = npt.NDArray[np.int64]


class Latest:
    """The latest `size` examples of `inputs` inputs; 8 bytes a number, of which each has two more.

    >>> latest = Latest(2, inputs=1)
    >>> latest.take(np.array([[1.0], [2.0], [3.0]]), np.zeros(3, np.int8), np.arange(3))
    >>> latest.examples(5)[0].tolist()
    [[2.0], [3.0]]
    """

    def __init__(self, size: int, *, inputs: int) -> None:
        self._rows = np.zeros((size, inputs + 1))
        self._idents = np.zeros(size, np.int64)
        self._seen = np.zeros(1, np.int64)

    def take(self, x: Floats, y: Labels, idents: Int64s) -> None:
        """Keep these, and let go of as many as there is no room for."""
        size = len(self._rows)
        first = max(len(y) - size, 0)
        at = (int(self._seen[0]) + np.arange(first, len(y))) % max(size, 1)
        self._rows[at, :-1], self._rows[at, -1] = x[first:], y[first:]
        self._idents[at] = idents[first:]
        self._seen += len(y)

    def examples(self, most: int) -> tuple[Floats, Labels, Int64s]:
        """Inputs, labels and ids of the latest, at most so many, oldest first."""
        seen = int(self._seen[0])
        count = min(most, seen, len(self._rows))
        at = np.arange(seen - count, seen) % max(len(self._rows), 1)
        rows = self._rows[at]
        return np.ascontiguousarray(rows[:, :-1]), rows[:, -1].astype(np.int8), self._idents[at]

    def parts(self) -> Tensors:
        """The arrays that hold what is kept."""
        return {"rows": self._rows, "idents": self._idents, "seen": self._seen}
