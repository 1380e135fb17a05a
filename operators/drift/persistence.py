"""What a value owes to those just before it: news is only what they do not foretell.

Cases of fraud go on for days, and a model learns: values that follow each other are alike where
nothing has changed. How far the next value will be from the mean is a part of how far the latest
were, the nearer ones counting for more. That is the best forecast of a level that wanders under
noise (Muth, *Optimal properties of exponentially weighted forecasts*, 1960). The part is found by
least squares as values come, and pulled to none while they are few.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.jit import kernel

Floats = npt.NDArray[np.float64]

LATELY, COUNT, SQUARES, PRODUCTS = range(4)
"""The weighted mean of the latest values; of how many values the sums are: of squares of how far
that mean was from the usual one, and of products of this with how far the next value was."""
FIELDS = 4

_GAIN = 0.4
"""The weight of the last value among the latest."""
_MEMORY = 400.0
"""Values that the sums are of: older ones fade."""
_PULL = 2.0
"""How many values say beforehand that there is nothing to foretell."""


@kernel()
def foretold(own: Floats, mean: float, most: float) -> float:
    """How far from the mean the next value is to be expected; `most` is the largest part.

    >>> own = np.zeros(FIELDS)
    >>> for value in (1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0):
    ...     remember(own, 0.0, value)
    >>> round(foretold(own, 0.0, 0.9), 2)
    -0.44
    """
    if not own[SQUARES] > 0.0:
        return 0.0
    part = own[PRODUCTS] / own[SQUARES] * own[COUNT] / (own[COUNT] + _PULL)
    return float(min(max(part, -most), most) * (own[LATELY] - mean))


@kernel()
def remember(own: Floats, mean: float, value: float) -> None:
    """Take the next value; `mean` is that of those before it."""
    away, fade = own[LATELY] - mean, 1.0 - 1.0 / _MEMORY
    own[COUNT] = fade * own[COUNT] + 1.0
    own[SQUARES] = fade * own[SQUARES] + away * away
    own[PRODUCTS] = fade * own[PRODUCTS] + away * (value - mean)
    own[LATELY] += _GAIN * (value - own[LATELY])


@kernel()
def settle(own: Floats, level: float) -> None:
    """Take the latest values to have been this: at the first one, or when the usual one changes."""
    own[LATELY] = level
