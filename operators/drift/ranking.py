"""How well scores rank events whose labels are known, expected, or known of some.

Events are counted in places of their score. Of a place are known how many events it has, how many
frauds (a count, or a sum of probabilities or weights), and by how many the frauds there grow from
one event to the next, a fraud being given: of frauds that are expected independently that is their
share c; of k known ones among m events (k - 1) / (m - 1). With it the average precision is the mean
over all orders of the events of a place and over all labels that may come.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streams.jit import kernel

Floats = npt.NDArray[np.float64]

METRICS = ("auc", "average_precision", "recall_at_budget")
_EXACT, _NEAR = 32, 1e-3


@kernel("float64(float64, float64)")
def harmonic(start: float, count: float) -> float:
    """The sum of 1 / (start + j) for j from 1 to count, to 1e-6.

    >>> round(harmonic(0.0, 4.0), 4), round(harmonic(100.0, 1.0), 6)
    (2.0833, 0.009901)
    """
    total, j = 0.0, 1.0
    while j <= count and start + j < _EXACT:
        total += 1.0 / (start + j)
        j += 1.0
    if j > count:
        return total
    low, high = start + j - 0.5, start + count + 0.5
    return float(total + np.log(high / low) + (1.0 / low**2 - 1.0 / high**2) * -1.0 / 24.0)


@kernel("void(float64[::1], float64[::1], float64[::1], float64, float64[::1])")
def rank(events: Floats, frauds: Floats, step: Floats, budget: float, out: Floats) -> None:
    """AUC, average precision, and recall within a share of the events, into out (3,).

    Places are in rising order of score. Of no events, or no frauds, all are nan.
    """
    n = all_frauds = 0.0
    for i in range(len(events)):
        n += events[i]
        all_frauds += frauds[i]
    out[:] = np.nan
    if not (all_frauds > 0.0 and n > all_frauds):
        return
    room = budget * n
    seen = found = in_order = precision = caught = 0.0
    for i in range(len(events) - 1, -1, -1):
        m, p = events[i], frauds[i]
        if m <= 0.0:
            continue
        in_order += (m - p) * (found + 0.5 * p)
        level = 1.0 + found - step[i] * (seen + 1.0)
        precision += p * step[i] + p / m * level * harmonic(seen, m)
        if seen < room:
            caught += p * min((room - seen) / m, 1.0)
        seen += m
        found += p
    out[0] = in_order / (all_frauds * (n - all_frauds))
    out[1] = precision / all_frauds
    out[2] = caught / all_frauds


def expected(events: Floats, chance: Floats, budget: float) -> Floats:
    """The metrics of events that are frauds by these chances, all of rising score.

    >>> expected(np.array([2.0, 2.0]), np.array([0.0, 1.0]), 0.5).tolist()
    [1.0, 1.0, 1.0]
    """
    out = np.empty(len(METRICS))
    rank(np.ascontiguousarray(events, np.float64), events * chance, chance, budget, out)
    return out


def weighed(events: Floats, frauds: Floats, squares: Floats, budget: float) -> Floats:
    """The metrics of events whose frauds are sums of weights; `squares` are those of their squares.

    A known fraud whose label had chance F to have come by now weighs 1 / F (Horvitz and Thompson,
    1952). Pairs of them weigh as the product, which the sum of squares is taken from.

    >>> frauds = np.array([0.0, 1.0])
    >>> weighed(np.array([2.0, 2.0]), frauds, frauds, 0.5).tolist()
    [0.8333333333333334, 0.75, 1.0]
    """
    out = np.empty(len(METRICS))
    step = _step(events, frauds, squares)
    rank(np.ascontiguousarray(events, np.float64), frauds.astype(np.float64), step, budget, out)
    return out


def _step(events: Floats, frauds: Floats, squares: Floats) -> Floats:
    least = np.maximum(frauds, 1e-12)
    return np.asarray((frauds - squares / least) / np.maximum(events - 1.0, 1.0), np.float64)


def deviations(
    events: Floats, frauds: Floats, variances: Floats, scale: float, budget: float
) -> Floats:
    """By how much the metrics deviate when the frauds of places do so independently: delta method.

    `variances` are of the frauds' number in each place, `scale` that of the logarithm of a factor
    that all have in common; nan where the metrics are.
    """
    base = weighed(events, frauds, frauds, budget)
    if math.isnan(base[0]):
        return base
    factor = 1.0 + _NEAR
    slope = (weighed(events, frauds * factor, frauds * factor, budget) - base) / _NEAR
    total = slope**2 * scale
    for at in np.flatnonzero(variances > 0):
        moved = frauds.astype(np.float64)
        moved[at] += _NEAR * max(frauds[at], 1.0)
        slope = (weighed(events, moved, moved, budget) - base) / (moved[at] - frauds[at])
        total += slope**2 * variances[at]
    return np.asarray(np.sqrt(total), np.float64)


def alert_rate(events: Floats, reference: Floats, budget: float) -> float:
    """The share of events whose scores are among those that a share of the reference had, at least.

    >>> alert_rate(np.array([0.0, 1.0, 1.0]), np.array([8.0, 1.0, 1.0]), 0.15)
    0.75
    """
    highest, own = np.cumsum(reference[::-1]) / reference.sum(), events[::-1]
    at = int(np.searchsorted(highest, budget))
    below = float(highest[at - 1]) if at else 0.0
    part = (budget - below) / (float(highest[at]) - below)
    return float((own[:at].sum() + part * own[at]) / own.sum())
