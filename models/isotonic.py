"""A rising curve from scores to log-odds, fitted to scores and the labels that came of them.

Pool-adjacent-violators (Ayer et al., 1955; for calibration Zadrozny and Elkan, 2002) pools
neighbours until the shares of positives rise. What is pooled is held at its centre, and between
centres the curve is straight (Oron and Flournoy, *Centered Isotonic Regression*, 2017), so that no
two scores that differ become one. Half a positive below all scores and half a negative above them
keep shares inside (0, 1).
"""

from __future__ import annotations

import numpy as np

from models.base import Floats
from streams.jit import kernel

MOST = 256
"""Points of a curve; of more, neighbours are pooled two by two."""
SIZE = 1 + 2 * MOST
"""Numbers of a curve: how many points, then where they are, then the log-odds there."""
_HALF = 0.5


@kernel()
def _offer(blocks: Floats, count: int, x: float, wide: float, weight: float, hits: float) -> int:
    """Add a block after `count` of them, and pool from the end while shares do not rise."""
    blocks[count, 0], blocks[count, 1] = x * wide, wide
    blocks[count, 2], blocks[count, 3] = weight, hits
    while count > 0:
        before, last = blocks[count - 1], blocks[count]
        if before[3] * last[2] < last[3] * before[2]:
            break
        for i in range(4):
            before[i] += last[i]
        count -= 1
    return count + 1


@kernel("int64(float64[::1], float64[::1], float64[::1], float64[:, ::1])")
def pool(x: Floats, y: Floats, weight: Floats, blocks: Floats) -> int:
    """Pool scores x (n,) in rising order, of labels y and weights; how many blocks that leaves.

    `blocks` (n + 2, 4) has the sum of the scores, the weight of that sum, the weight with what was
    added at the ends, and how much of it is positive.
    """
    count = _offer(blocks, 0, 0.0, 0.0, _HALF, _HALF)
    start = 0
    while start < len(x):
        total, hits, stop = 0.0, 0.0, start
        while stop < len(x) and x[stop] == x[start]:
            total += weight[stop]
            hits += weight[stop] * y[stop]
            stop += 1
        count = _offer(blocks, count, x[start], total, total, hits)
        start = stop
    return int(_offer(blocks, count, 0.0, 0.0, _HALF, 0.0))


def fit(x: Floats, y: Floats, weight: Floats) -> Floats:
    """The curve through scores x (n,) with labels y and weights above 0, float64 (SIZE,).

    >>> curve = fit(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.0, 1.0]), np.ones(4))
    >>> int(curve[0]), curve[1:4].tolist()
    (3, [0.0, 1.5, 3.0])
    """
    curve = np.zeros(SIZE)
    if not len(x):
        return curve
    order = np.argsort(x, kind="stable")
    blocks = np.empty((len(x) + 2, 4))
    blocks = blocks[: pool(x[order], y[order], weight[order], blocks)]
    while len(blocks) > MOST:
        pairs = np.arange(0, len(blocks), 2)
        blocks = np.add.reduceat(blocks, pairs)
    curve[0] = len(blocks)
    curve[1 : 1 + len(blocks)] = blocks[:, 0] / blocks[:, 1]
    curve[1 + MOST : 1 + MOST + len(blocks)] = np.log(blocks[:, 3] / (blocks[:, 2] - blocks[:, 3]))
    return curve


@kernel("float64(float64[::1], int64, float64)")
def rise(curve: Floats, start: int, x: float) -> float:
    """The log-odds of a score by the curve that begins at a place; beyond its ends, as steep as 1.

    A curve without points leaves the score as it is.
    """
    count = np.int64(curve[start])
    first, ahead = start + 1, start + 1 + MOST
    if count == 0:
        return float(x)
    if x <= curve[first]:
        return float(curve[ahead] + (x - curve[first]))
    low, high = np.int64(0), count
    while high - low > 1:
        middle = (low + high) // 2
        if curve[first + middle] <= x:
            low = middle
        else:
            high = middle
    past = x - curve[first + low]
    if low == count - 1:
        return float(curve[ahead + low] + past)
    wide = curve[first + low + 1] - curve[first + low]
    high_up = curve[ahead + low + 1] - curve[ahead + low]
    return float(curve[ahead + low] + past / wide * high_up)
