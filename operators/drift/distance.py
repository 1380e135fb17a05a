"""How far two distributions are apart, of counts in the same bins.

Rows need not be whole numbers nor have equal sums: each is taken as shares of its own sum. Of a
row without counts every distance is 0: nothing is known. Bins that are empty in both say nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.jit import kernel

Floats = npt.NDArray[np.float64]


@kernel("float64(float64[::1])")
def _sum(row: Floats) -> float:
    total = 0.0
    for each in row:
        total += each
    return total


@kernel("float64(float64[::1], float64[::1])")
def ks(p: Floats, q: Floats) -> float:
    """Kolmogorov and Smirnov's: the largest difference of the shares up to a bin; 0 to 1.

    Between bins nothing is known, so it is at most that of the values themselves. Empty bins change
    nothing.
    """
    n, m = _sum(p), _sum(q)
    if not (n > 0.0 and m > 0.0):
        return 0.0
    most = above = below = 0.0
    for k in range(len(p)):
        above += p[k]
        below += q[k]
        most = max(most, abs(above / n - below / m))
    return most


@kernel("float64(float64[::1], float64[::1])")
def psi(p: Floats, q: Floats) -> float:
    """The population stability index, sum of (p - q) ln(p / q); from 0, without a limit.

    A bin that one of them lacks would make it infinite: every bin that either has counts half an
    event more in both, so a rare one weighs by how much is known of it.
    """
    n, m = _sum(p), _sum(q)
    if not (n > 0.0 and m > 0.0):
        return 0.0
    held = 0
    for k in range(len(p)):
        held += p[k] + q[k] > 0.0
    total = 0.0
    for k in range(len(p)):
        if p[k] + q[k] > 0.0:
            left, right = (p[k] + 0.5) / (n + 0.5 * held), (q[k] + 0.5) / (m + 0.5 * held)
            total += (left - right) * np.log(left / right)
    return total


@kernel("float64(float64[::1], float64[::1])")
def js(p: Floats, q: Floats) -> float:
    """Jensen and Shannon's divergence in nats; 0 to ln 2.

    A bin that one of them lacks adds half its share times ln 2, so empty bins need no care.
    """
    n, m = _sum(p), _sum(q)
    if not (n > 0.0 and m > 0.0):
        return 0.0
    total = 0.0
    for k in range(len(p)):
        left, right = p[k] / n, q[k] / m
        middle = 0.5 * (left + right)
        if left > 0.0:
            total += left * np.log(left / middle)
        if right > 0.0:
            total += right * np.log(right / middle)
    return max(0.0, 0.5 * total)


@kernel("float64(float64[::1], float64[::1])")
def chi2(p: Floats, q: Floats) -> float:
    """Chi-squared of the table of both rows, over its sum: Pearson's phi squared; 0 to 1.

    Times the sum of all counts it is Pearson's statistic of homogeneity, without correction. A bin
    that both lack is left out; one that one lacks is expected by the other, so it is finite.
    """
    n, m = _sum(p), _sum(q)
    if not (n > 0.0 and m > 0.0):
        return 0.0
    total = 0.0
    for k in range(len(p)):
        both = p[k] + q[k]
        if both > 0.0:
            apart = p[k] / n - q[k] / m
            total += apart * apart / both
    return float(total * n * m / (n + m))
