"""Knots between which a number is embedded: quantiles, closest together where values are rare.

They stand at the shares that are evenly spaced in log-odds, so that the last knots are among the
few largest and smallest values. Drawn anew from other rows, they keep what was learnt at the old
ones: what lies at a new knot is what lay there between the two old ones beside it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.base import Floats

_SPREAD = 6.0


def no_knots(inputs: int, count: int) -> Floats:
    """Knots (inputs, count) of nothing seen: none of them is finite."""
    return np.full((inputs, count), np.inf)


def knots_of(x: Floats, count: int) -> Floats:
    """At most so many increasing knots for each column of x (n, inputs), infinity after the last.

    >>> knots_of(np.array([[1.0], [5.0], [1.0], [np.nan]]), 4).tolist()
    [[1.0, 5.0, inf, inf]]
    """
    shares = 1.0 / (1.0 + np.exp(-np.linspace(-_SPREAD, _SPREAD, count)))
    shares[0], shares[-1] = 0.0, 1.0
    knots = no_knots(x.shape[1], count)
    for own, seen in zip(knots, x.T, strict=True):
        values = np.sort(seen[np.isfinite(seen)])
        if len(values):
            places = np.round(shares * (len(values) - 1)).astype(np.int64)
            found = np.unique(values[places])
            own[: len(found)] = found
    return knots


def carry(table: npt.NDArray[np.float32], old: Floats, new: Floats) -> None:
    """Make the rows at one input's old knots (count, width) those at its new ones, in place."""
    before, after = old[np.isfinite(old)], new[np.isfinite(new)]
    if len(before) and len(after):
        for values in table.T:
            values[: len(after)] = np.interp(after, before, values[: len(before)])
