"""How sure a score is: between what shares of positives events of such scores have had of late.

Recent scores are counted with their labels in bins of a quarter of log-odds, whatever the model.
For the bin of a score the interval holds the share of positives with a confidence of 95 %, if a
higher bin has no lower share. Under that alone every range of bins that ends with this one bounds
its share from below, and every range that begins with it from above (Dimitriadis, Dümbgen, Henzi,
Puke and Ziegel, *Honest calibration assessment for binary outcome predictions*, 2023): where events
of its own are few, a bin has the bounds of its neighbours. Ranges are 1, 4, 16 and 64 bins long,
each bounded at its part of the 5 %, for any number of events, by Zubkov and Serov's inequality for
the binomial distribution (2013).
"""

from __future__ import annotations

import numpy as np

from models.base import Floats
from streams.jit import kernel

BINS = 128
"""As many as there are quarters from -16 to 16."""
_RANGE, _PER_UNIT = 16, 4
MIDDLES = (np.arange(BINS) + 0.5) / _PER_UNIT - _RANGE
_LEVELS, _LONGER = 4, 4
_LIMIT = 2.4977054744**2 / 2
"""Of the normal quantile that leaves out 2.5 % by the number of levels."""
_STEPS, _NEAR = 12, 1e-3
_SMALLEST = 1e-9


@kernel("float64(float64, float64)")
def least(hits: float, n: float) -> float:
    """The share that so many hits among n events leave possible, at least.

    It is where n times the divergence of Kullback and Leibler from one hit less is `_LIMIT`, from
    below: what Newton's method has after any step is a bound too, only a wider one.
    """
    share = (hits - 1.0) / n
    if not share > 0:
        return 0.0
    limit = _LIMIT / n
    p = max(share * np.exp(-1.0 - limit / share), share - np.sqrt(2.0 * share * limit))
    if p < _SMALLEST:
        return 0.0
    for _ in range(_STEPS):
        apart = share * np.log(share / p) + (1.0 - share) * np.log((1.0 - share) / (1.0 - p))
        if apart - limit < _NEAR * limit:
            break
        p += (apart - limit) * p * (1.0 - p) / (share - p)
    return float(p)


@kernel("float64(float64, boolean)")
def outward(share: float, up: bool) -> float:
    """Three digits of a share, so rounded that the interval holds what it held."""
    if share < _SMALLEST:
        return _SMALLEST if up and share > 0 else 0.0
    scale = 1000.0
    while share * scale < 100.0:
        scale *= 10.0
    return float(
        min(np.ceil(share * scale), scale) / scale if up else np.floor(share * scale) / scale
    )


@kernel("float64(float64[::1], float64[::1], int64, int64, int64)")
def _best(seen: Floats, hits: Floats, own: int, step: int, levels: int) -> float:
    """The best lower bound of a bin's share by the ranges that go from it in steps of 1 or -1."""
    n = found = best = 0.0
    length, at = 1, own
    for _ in range(levels):
        while 0 <= at < len(seen) and abs(at - own) < length:
            n += seen[at]
            found += hits[at]
            at += step
        if n > 0:
            best = max(best, least(found, n))
        length *= _LONGER
    return best


@kernel("void(float64[::1], float64[::1], float64, float64[:, ::1])")
def bounds(seen: Floats, positive: Floats, rate: float, out: Floats) -> None:
    """Bounds of the share of positives in each bin, of how many were seen there, into (bins, 2).

    `rate` is the share of negatives that was sampled; the bounds are of all.
    """
    negative = seen - positive
    first, last = 0, len(seen) - 1
    while first < last and not seen[first] > 0:
        first += 1
    while last > first and not seen[last] > 0:
        last -= 1
    for own in range(first, last + 1):
        low = _best(seen, positive, own, -1, _LEVELS)
        high = 1.0 - _best(seen, negative, own, 1, _LEVELS)
        if low > high:  # Shares do fall somewhere: the neighbours say nothing.
            low, high = _best(seen, positive, own, -1, 1), 1.0 - _best(seen, negative, own, 1, 1)
        out[own, 0] = outward(low * rate / (low * rate + 1.0 - low), False)
        out[own, 1] = outward(high * rate / (high * rate + 1.0 - high), True)
    # Beyond all that was seen the one bound goes on, and of the other nothing is known.
    for own in range(first):
        out[own, 0], out[own, 1] = 0.0, out[first, 1]
    for own in range(last + 1, len(seen)):
        out[own, 0], out[own, 1] = out[last, 0], 1.0


@kernel("void(float64[:, ::1], float64[::1], float64[:, ::1])")
def look_up(table: Floats, scores: Floats, out: Floats) -> None:
    """The row of `bounds` that each score (n,) falls into, into out (n, 2)."""
    for i in range(len(scores)):
        z = np.log(scores[i] / (1.0 - scores[i]))
        own = np.int64(min(max((z + _RANGE) * _PER_UNIT, 0.0), BINS - 1.0))
        out[i, 0] = table[own, 0]
        out[i, 1] = table[own, 1]
