"""What each input adds to a score: contributions in log-odds, which with their base sum to it.

They are rows of (inputs + 1): one number an input, and last the base, which is what is scored when
nothing is known of the event. A model that adds up probabilities rather than log-odds has its
contributions brought from one scale to the other by one factor a row, the rescale rule of DeepLIFT
(Shrikumar, Greenside and Kundaje, 2017), under which they go on to add up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from models.base import Floats, Reasons
from streams.jit import kernel

_EQUAL, _STEP = 1e-9, 1e-6
"""Log-odds nearer than this have the slope of the curve between them, not that of the chord."""


@kernel("void(float64[:, ::1], int16[:, ::1])")
def rank(parts: Floats, out: Reasons) -> None:
    """The inputs that raise each row most, largest first, -1 for none, into out (n, k).

    Of equal ones the first comes first. Of `parts` (n, inputs + 1) the last column is the base.
    """
    k = out.shape[1]
    for row in range(len(parts)):
        out[row, :] = -1
        for i in range(parts.shape[1] - 1):
            if not parts[row, i] > 0:
                continue
            at = k
            while at > 0 and (out[row, at - 1] < 0 or parts[row, out[row, at - 1]] < parts[row, i]):
                at -= 1
                if at + 1 < k:
                    out[row, at + 1] = out[row, at]
            if at < k:
                out[row, at] = i


def largest(parts: Floats, k: int) -> Reasons:
    """The up to k inputs that raise each row most: see `Version.reasons_many`.

    >>> largest(np.array([[0.1, -2.0, 0.5, -4.6]]), 3).tolist()
    [[2, 0, -1]]
    """
    out = np.empty((len(parts), k), np.int16)
    rank(parts, out)
    return out


class Contributing(ABC):
    """A version that says what each input contributes, and so gives its reasons."""

    @abstractmethod
    def contributions_many(self, x: Floats) -> Floats:
        """See `models.base.Version`."""

    def reasons_many(self, x: Floats, k: int) -> Reasons:
        return largest(self.contributions_many(x), k)


def spread(parts: Floats, columns: Sequence[int], inputs: int) -> Floats:
    """Contributions of some inputs as those of all, by the places of some among all."""
    out = np.zeros((len(parts), inputs + 1))
    out[:, [*columns, inputs]] = parts
    return out


@kernel("void(float64[:, ::1])")
def to_log_odds(parts: Floats) -> None:
    """Contributions to a probability become those to its log-odds, in place."""
    base = parts.shape[1] - 1
    for row in range(len(parts)):
        low = parts[row, base]
        added = 0.0
        for i in range(base):
            added += parts[row, i]
        p = low + added
        bottom = np.log(low / (1.0 - low))
        rise = np.log(p / (1.0 - p)) - bottom
        factor = 1.0 / (low * (1.0 - low)) if abs(rise) < _EQUAL else rise / added
        for i in range(base):
            parts[row, i] *= factor
        parts[row, base] = bottom


@kernel("void(float64[:, ::1])")
def to_probabilities(parts: Floats) -> None:
    """Contributions to log-odds become those to the probability, in place."""
    base = parts.shape[1] - 1
    for row in range(len(parts)):
        bottom = parts[row, base]
        rise = 0.0
        for i in range(base):
            rise += parts[row, i]
        low = 1.0 / (1.0 + np.exp(-bottom))
        added = 1.0 / (1.0 + np.exp(-(bottom + rise))) - low
        factor = low * (1.0 - low) if abs(rise) < _EQUAL else added / rise
        for i in range(base):
            parts[row, i] *= factor
        parts[row, base] = low


def through(parts: Floats, curve: Callable[[Floats], Floats]) -> None:
    """Contributions to numbers become those to what a smooth curve makes of them, in place."""
    sums, base = np.cumsum(parts, axis=1)[:, -1], parts[:, -1].copy()
    rise = np.where(np.abs(sums - base) < _EQUAL, _STEP, sums - base)
    bottom = curve(base)
    parts[:, :-1] *= ((curve(base + rise) - bottom) / rise)[:, None]
    parts[:, -1] = bottom


def by_leaving_out(predict: Callable[[Floats], Floats], x: Floats) -> Floats:
    """Contributions to log-odds for a model that only scores: what it loses as inputs go missing.

    Inputs are taken away one by one, from the first to the last and from the last to the first, and
    each contributes the mean of its two falls: the Shapley value as estimated from a pair of
    opposite orders (Mitchell et al., *Sampling Permutations for Shapley Value Estimation*, 2022),
    exact where inputs do not act on each other. `predict` scores rows of x (n, F), NaN where
    missing, 2F times.

    >>> def predict(x):
    ...     return 1 / (1 + np.exp(2 - np.nan_to_num(x).sum(axis=1)))
    >>> by_leaving_out(predict, np.array([[3.0, np.nan, 0.5]])).round(9).tolist()
    [[3.0, 0.0, 0.5, -2.0]]
    """
    inputs = x.shape[1]
    whole, none = _log_odds(predict(x)), _log_odds(predict(np.full_like(x, np.nan)))
    parts = np.zeros((len(x), inputs + 1))
    for order in (range(inputs), range(inputs - 1, -1, -1)):
        rest, before = x.copy(), whole
        for taken, i in enumerate(order, 1):
            rest[:, i] = np.nan
            after = none if taken == inputs else _log_odds(predict(rest))
            parts[:, i] += (before - after) / 2
            before = after
    parts[:, inputs] = none
    return parts


def _log_odds(scores: Floats) -> Floats:
    return np.asarray(np.log(scores) - np.log1p(-scores))
