"""Inputs as ranks: where a number stands among those of the first examples.

For models that compare inputs by distance, whatever their units: the quantiles of the first
examples are the knots 0, 1/n, ... 1 of a piecewise linear scale. Beyond both ends it goes on by the
logarithm, at most to -8 and 9, and a missing value is -1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from models.base import Floats, Labels, Tensors, column, examine
from streams.jit import kernel

Singles = npt.NDArray[np.float32]
KNOTS = 32
_MISSING = -1.0
_FURTHEST = 8.0


def no_knots(inputs: int) -> Floats:
    """Knots (inputs, 1 + KNOTS) of nothing seen: how many there are, then each; 0 and 1."""
    knots = np.zeros((inputs, 1 + KNOTS))
    knots[:, 0], knots[:, 2] = 2, 1
    return knots


def knots_of(x: Floats) -> Floats:
    """The knots by which these rows are ranked; an input with one value only has two beside it.

    >>> knots_of(np.array([[1.0], [1.0], [3.0]]))[0, :3].tolist()
    [2.0, 1.0, 3.0]
    """
    knots = no_knots(x.shape[1])
    for own, seen in zip(knots, x.T, strict=True):
        values = np.sort(seen[np.isfinite(seen)])
        if not len(values):
            continue
        ranks = np.arange(KNOTS) * (len(values) - 1) // (KNOTS - 1)
        found = np.unique(values[ranks])
        if len(found) == 1:
            found = np.append(found, found + max(abs(found[0]), 1.0))
        own[0] = len(found)
        own[1 : 1 + len(found)] = found
    return knots


class Ranks:
    """The ranks of some inputs, by a scale that the first `after` examples make.

    It is made of the first of all, and again each time that about twice as many have come; then
    what was learnt by the one before is to be learnt anew. `inputs` are names among `names`, all of
    them when empty; `model` is for messages.
    """

    def __init__(
        self, names: tuple[str, ...], inputs: Sequence[str], after: int, model: str
    ) -> None:
        self._names = names
        self.columns = [column(names, name, model) for name in inputs or names]
        self._knots = no_knots(len(self.columns))
        self._first = np.zeros((after, len(self.columns) + 2))
        self._seen = np.zeros(1, np.int64)

    def learnable(
        self, x: Floats, y: Labels, weight: Floats
    ) -> Iterator[tuple[bool, Singles, Labels, Floats]]:
        """What to learn now that these examples are here: whether anew, ranks, labels and weights.

        Anew means with all that was learnt forgotten: what follows are all examples that came.
        """
        examine(self._names, x)
        after, start = len(self._first), 0
        while start < len(x):
            seen = int(self._seen[0])
            stop = min(start + (self._next(seen) - seen if seen < after else len(x)), len(x))
            own = np.ascontiguousarray(x[start:stop, self.columns])
            labels, weights = y[start:stop], weight[start:stop]
            self._seen += stop - start
            anew = False
            if seen < after:
                seen, before = int(self._seen[0]), seen
                self._first[before:seen] = np.column_stack([own, labels, weights])
                anew = seen == self._next(before)
            if anew:
                own = np.ascontiguousarray(self._first[:seen, :-2])
                labels = self._first[:seen, -2].astype(np.int8)
                weights = self._first[:seen, -1].copy()
                self._knots[:] = knots_of(own)
            yield anew, ranks_of(own, self._knots), labels, weights
            start = stop

    def _next(self, seen: int) -> int:
        """After how many examples the scale is next made: `after` halved until above `seen`."""
        mark = len(self._first)
        while mark // 2 > seen:
            mark //= 2
        return mark

    @property
    def knots(self) -> Floats:
        """A copy of the scale as it is now: see `knots_of`."""
        return self._knots.copy()

    def parts(self) -> Tensors:
        """The arrays that hold what was learnt."""
        return {"first": self._first, "knots": self._knots, "seen": self._seen}


def ranks_of(x: Floats, knots: Floats) -> Singles:
    """The ranks of rows x (n, inputs), of the same shape."""
    out = np.empty(x.shape, np.float32)
    rank_many(x, knots, out)
    return out


@kernel("void(float64[:, ::1], float64[:, ::1], float32[:, ::1])")
def rank_many(x: Floats, knots: Floats, out: Singles) -> None:
    """The ranks of rows x (n, inputs) into out, of the same shape."""
    for row in range(len(x)):
        for i in range(x.shape[1]):
            value = x[row, i]
            last = np.int64(knots[i, 0])
            low, high = knots[i, 1], knots[i, last]
            if np.isnan(value):
                rank = _MISSING
            elif value > high:
                rank = 1.0 + min(0.5 * np.log1p((value - high) / (high - low)), _FURTHEST)
            elif value < low:
                rank = -min(0.5 * np.log1p((low - value) / (high - low)), _FURTHEST)
            else:
                at, end = np.int64(1), last
                while end - at > 1:
                    middle = (at + end) // 2
                    if knots[i, middle] <= value:
                        at = middle
                    else:
                        end = middle
                part = (value - knots[i, at]) / (knots[i, end] - knots[i, at])
                rank = (at - 1 + part) / (last - 1)
            out[row, i] = np.float32(rank)
