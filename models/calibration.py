"""From raw log-odds to a calibrated probability and a decision; every learner ends in this.

    log-odds = slope * (raw + shift) + intercept

`shift` undoes what class weighting and the sampling of negatives did to the odds: with positives
weighted w times and negatives kept at rate r the learnt odds are w/r times the true ones (King and
Zeng, 2001). `slope` and `intercept` are Platt's (1999), learnt online from each example's score
before it is learnt, by Newton steps on evidence that fades. The threshold is the quantile of the
scores of recent examples that fills the alert budget.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.base import Floats, Labels
from models.intervals import BINS, bounds, look_up
from streams.errors import ConfigError
from streams.jit import kernel

SHIFT, SLOPE, INTERCEPT = 0, 1, 2
_H_SLOPE, _H_BOTH, _H_INTERCEPT = 3, 4, 5
_UNIT, _TOTAL, _GROWTH, _PLATT, POSITIVE_WEIGHT, _NEGATIVE_COUNT, _BUDGET = 6, 7, 8, 9, 10, 11, 12
_HISTOGRAM = 13
_CELLS_PER_UNIT = 64
_RANGE = 16
_CELLS = 2 * _RANGE * _CELLS_PER_UNIT
_BINS = _HISTOGRAM + _CELLS
"""Bins of `models.intervals`: how many recent examples, then how many positive ones, by score."""
_RATE, _SEEN = 3, 4
_HITS = _SEEN + BINS
THRESHOLD = _HITS + BINS
"""Where the threshold is in what `publish` gives, the last; shift, slope and intercept are first.
Between them are the rate of negatives, and the bins."""

_STEEPEST = 1e3
_FLATTEST = 1e-3
_RIDGE = 1.0
_LARGE = 1e100
_LIMIT = 35.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """How raw log-odds become probabilities and decisions.

    `positive_weight`: a positive example is learnt as if it were this many. `negative_rate`: the
    share of negatives that the pipeline samples and hands to the learner. Both change what is
    learnt and neither changes the level of the probabilities. `platt`: fit slope and intercept
    online. `half_life`: after this many examples, evidence for slope, intercept and threshold
    counts half. `alert_budget`: the share of events that may go to review.

    >>> Calibration(negative_rate=0.1).start()[SHIFT].round(6)
    np.float64(-2.302585)
    """

    positive_weight: float = 1.0
    negative_rate: float = 1.0
    platt: bool = False
    half_life: float = 50_000
    alert_budget: float = 0.01

    def __post_init__(self) -> None:
        rates = (self.negative_rate, self.alert_budget)
        if not (
            all(0 < rate <= 1 for rate in rates) and min(self.positive_weight, self.half_life) > 0
        ):
            wanted = "rates in (0, 1], positive_weight and half_life above 0"
            raise ConfigError(f"Calibration wants {wanted}; got {self}")

    def start(self) -> Floats:
        """The state before any example: parameters, Platt's evidence, histogram, bins; 19 kB."""
        state = np.zeros(_BINS + 2 * BINS)
        state[SHIFT] = math.log(self.negative_rate) - math.log(self.positive_weight)
        state[[SLOPE, _UNIT]] = 1.0
        state[_GROWTH] = 2.0 ** (1.0 / self.half_life)
        state[_PLATT] = self.platt
        state[POSITIVE_WEIGHT] = self.positive_weight
        state[_NEGATIVE_COUNT] = 1.0 / self.negative_rate
        state[_BUDGET] = self.alert_budget
        return state


@kernel("float64(float64)")
def sigmoid(z: float) -> float:
    """The probability of log-odds z, held inside (0, 1)."""
    return float(1.0 / (1.0 + np.exp(-min(max(z, -_LIMIT), _LIMIT))))


@kernel("float64(float64[::1], float64)")
def log_odds(state: Floats, raw: float) -> float:
    """The calibrated log-odds of a raw one, by a state or by what `publish` gave."""
    return float(state[SLOPE] * (raw + state[SHIFT]) + state[INTERCEPT])


@kernel("void(float64[::1], float64, float64, float64, float64)")
def _newton(state: Floats, s: float, z: float, y: float, count: float) -> None:
    """Move slope and intercept by one example's score s, calibrated z, and label y."""
    p = sigmoid(z)
    info = p * (1.0 - p) * count
    fade = 1.0 / state[_GROWTH]
    state[_H_SLOPE] = state[_H_SLOPE] * fade + info * s * s
    state[_H_BOTH] = state[_H_BOTH] * fade + info * s
    state[_H_INTERCEPT] = state[_H_INTERCEPT] * fade + info
    a = state[_H_SLOPE] + _RIDGE
    b = state[_H_BOTH]
    c = state[_H_INTERCEPT] + _RIDGE
    g = (p - y) * count
    det = a * c - b * b
    slope = state[SLOPE] - g * (c * s - b) / det
    state[SLOPE] = min(max(slope, _FLATTEST), _STEEPEST)
    state[INTERCEPT] -= g * (a - b * s) / det


@kernel("void(float64[::1], float64, float64, float64)")
def observe(state: Floats, raw: float, y: float, weight: float) -> None:
    """Take in one matured example: its raw log-odds from before it was learnt, and its label."""
    count = weight if y > 0 else weight * state[_NEGATIVE_COUNT]
    z = log_odds(state, raw)
    cell = np.int64(min(max((z + _RANGE) * _CELLS_PER_UNIT, 0.0), _CELLS - 1.0))
    state[_HISTOGRAM + cell] += state[_UNIT] * count
    state[_TOTAL] += state[_UNIT] * count
    own = cell // (_CELLS // BINS)
    state[_BINS + own] += state[_UNIT] * weight
    if y > 0:
        state[_BINS + BINS + own] += state[_UNIT] * weight
    state[_UNIT] *= state[_GROWTH]
    if state[_UNIT] > _LARGE:
        state[_TOTAL] /= state[_UNIT]
        for i in range(_HISTOGRAM, _BINS + 2 * BINS):
            state[i] /= state[_UNIT]
        state[_UNIT] = 1.0
    if state[_PLATT] > 0:
        _newton(state, raw + state[SHIFT], z, y, count)


@kernel("void(float64[::1], float64[::1], int8[::1], float64[::1])")
def observe_many(state: Floats, raw: Floats, y: Labels, weight: Floats) -> None:
    """`observe` each example in order; raw, y and weight are (n,)."""
    for i in range(len(raw)):
        observe(state, float(raw[i]), float(y[i]), float(weight[i]))


@kernel("void(float64[::1], float64[::1], float64[::1])")
def score_many(published: Floats, raw: Floats, out: Floats) -> None:
    """The probability of each raw log-odds; all but the first are (n,)."""
    for i in range(len(raw)):
        out[i] = sigmoid(log_odds(published, raw[i]))


@kernel("void(float64[::1], float64[:, ::1])")
def calibrate(published: Floats, parts: Floats) -> None:
    """Contributions to raw log-odds (`models.contributions`) become those to calibrated ones."""
    base = parts.shape[1] - 1
    for row in range(len(parts)):
        for i in range(base):
            parts[row, i] *= published[SLOPE]
        parts[row, base] = log_odds(published, parts[row, base])


@kernel("int64(float64[::1])")
def _within_budget(state: Floats) -> int:
    """How many of the highest cells together stay within the budget."""
    limit = state[_BUDGET] * state[_TOTAL]
    above = 0.0
    for n in range(_CELLS):
        above += state[_HISTOGRAM + _CELLS - 1 - n]
        if above > limit:
            return n
    return _CELLS


def publish(state: Floats) -> Floats:
    """What a version needs of the state, float64 (THRESHOLD + 1,).

    The threshold is a cell edge of a histogram of log-odds (1/64 wide, from -16 to 16): the lowest
    at or above which the fading share of recent scores is within the budget.
    """
    cell = _CELLS - _within_budget(state)
    seen = state[_TOTAL] > 0 and cell < _CELLS
    threshold = sigmoid(cell / _CELLS_PER_UNIT - _RANGE) if seen else 1.0
    published = np.empty(THRESHOLD + 1)
    published[:_RATE] = state[:_RATE]
    published[_RATE], published[THRESHOLD] = 1.0 / state[_NEGATIVE_COUNT], threshold
    # The newest example as 1. Faded ones tell more than they count: intervals are rather too wide.
    published[_SEEN:THRESHOLD] = state[_BINS:] / state[_UNIT]
    return published


class Calibrated:
    """What a version has by its calibration: a threshold, and intervals for its scores."""

    _calibration: Floats
    """As of `publish`."""

    @property
    def threshold(self) -> float:
        return float(self._calibration[THRESHOLD])

    def intervals_many(self, scores: Floats) -> Floats:
        out = np.empty((len(scores), 2))
        look_up(self._intervals, scores, out)
        return out

    @cached_property
    def _intervals(self) -> Floats:
        """Made when first asked for: most versions are never asked."""
        own, table = self._calibration, np.empty((BINS, 2))
        bounds(own[_SEEN:_HITS], own[_HITS:THRESHOLD], own[_RATE], table)
        return table
