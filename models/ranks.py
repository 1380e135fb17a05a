"""Inputs as ranks: where a number stands among those of the first examples.

For models that compare inputs by distance, whatever their units: the quantiles of the first
examples are the knots 0, 1/n, ... 1 of a piecewise linear scale. Beyond both ends it goes on by the
logarithm, at most to -8 and 9, and a missing value is -1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.base import Floats
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
    for own, column in zip(knots, x.T, strict=True):
        values = np.sort(column[np.isfinite(column)])
        if not len(values):
            continue
        ranks = np.arange(KNOTS) * (len(values) - 1) // (KNOTS - 1)
        found = np.unique(values[ranks])
        if len(found) == 1:
            found = np.append(found, found + max(abs(found[0]), 1.0))
        own[0] = len(found)
        own[1 : 1 + len(found)] = found
    return knots


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
