"""From raw log-odds to a calibrated probability and a decision; every learner ends in this.

    log-odds = slope * (raw + shift) + intercept

`shift` undoes what class weighting and the sampling of negatives did to the odds: with positives
weighted w times and negatives kept at rate r the learnt odds are w/r times the true ones (King and
Zeng, 2001). `slope` and `intercept` are Platt's (1999), learnt online from each example's score
before it is learnt, by Newton steps on evidence that fades. In their place may stand a curve that
rises, fitted to the latest scores (`models.isotonic`). The threshold is the quantile of the scores
of recent examples that fills the alert budget.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from models import isotonic
from models.base import Floats, Labels
from models.intervals import BINS, MIDDLES, bounds, look_up
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
_MORE = _BINS + 2 * BINS
_LAST = _MORE + 4
_BALANCED, _NEGATIVES, _POSITIVES, _SEEN = range(_MORE, _LAST)
"""Only of a state that balances or has a curve, whose latest examples come after."""
THRESHOLD = 3
"""Where the threshold is in what `publish` gives; shift, slope and intercept come before it, then
the rate of negatives, the bins, and a curve where there is one."""
_RATE, _COUNTS = THRESHOLD + 1, THRESHOLD + 2
_HITS = _COUNTS + BINS
CURVE = _HITS + BINS

_STEEPEST = 1e3
_FLATTEST = 1e-3
_RIDGE = 1.0
_LARGE = 1e100
_LIMIT = 35.0
_STEP = 1e-6


@dataclass(frozen=True, slots=True)
class Calibration:
    """How raw log-odds become probabilities and decisions.

    `positive_weight`: a positive example is learnt as if it were this many; "balanced": as many as
    make positives weigh together what negatives do, of late. `negative_rate`: the share of
    negatives that the pipeline samples and hands to the learner. Both change what is learnt and
    neither changes the level of the probabilities. `platt`: fit slope and intercept online.
    `isotonic`: instead, fit a rising curve to so many of the latest examples, 24 bytes each.
    `half_life`: after this many examples, evidence for slope, intercept, balance and threshold
    counts half. `alert_budget`: the share of events that may go to review.

    >>> Calibration(negative_rate=0.1).start()[SHIFT].round(6)
    np.float64(-2.302585)
    """

    positive_weight: float | Literal["balanced"] = 1.0
    negative_rate: float = 1.0
    platt: bool = False
    isotonic: int = 0
    half_life: float = 50_000
    alert_budget: float = 0.01

    def __post_init__(self) -> None:
        rates = (self.negative_rate, self.alert_budget)
        if not (all(0 < rate <= 1 for rate in rates) and min(self.heavier, self.half_life) > 0):
            wanted = "rates in (0, 1], positive_weight and half_life above 0"
            raise ConfigError(f"Calibration wants {wanted}; got {self}")
        if self.isotonic < 0 or (self.isotonic and self.platt):
            wanted = "platt, or isotonic as a number of examples"
            raise ConfigError(f"Calibration wants {wanted}; got {self}")

    @property
    def heavier(self) -> float:
        """What a positive weighs before any example."""
        return 1.0 if self.positive_weight == "balanced" else self.positive_weight

    def start(self) -> Floats:
        """The state before any example: parameters, Platt's evidence, histogram, bins; 19 kB.

        After them, where that is wanted, what balances and the latest examples.
        """
        balanced = self.positive_weight == "balanced"
        more = _LAST - _BALANCED + 3 * self.isotonic if balanced or self.isotonic else 0
        state = np.zeros(_MORE + more)
        if more:
            state[[_BALANCED, _NEGATIVES, _POSITIVES]] = balanced, 1.0, 1.0
        state[SHIFT] = math.log(self.negative_rate) - math.log(self.heavier)
        state[[SLOPE, _UNIT]] = 1.0
        state[_GROWTH] = 2.0 ** (1.0 / self.half_life)
        state[_PLATT] = self.platt
        state[POSITIVE_WEIGHT] = self.heavier
        state[_NEGATIVE_COUNT] = 1.0 / self.negative_rate
        state[_BUDGET] = self.alert_budget
        return state


@kernel("float64(float64)")
def sigmoid(z: float) -> float:
    """The probability of log-odds z, held inside (0, 1)."""
    return float(1.0 / (1.0 + np.exp(-min(max(z, -_LIMIT), _LIMIT))))


@kernel("float64(float64[::1], float64)")
def log_odds(state: Floats, raw: float) -> float:
    """The log-odds of a raw one, by a state or by what `publish` gave, a curve left aside."""
    return float(state[SLOPE] * (raw + state[SHIFT]) + state[INTERCEPT])


@kernel("float64(float64[::1], float64)")
def probability(published: Floats, raw: float) -> float:
    """The calibrated probability of a raw log-odds."""
    z = log_odds(published, raw)
    return float(sigmoid(isotonic.rise(published, CURVE, z) if len(published) > CURVE else z))


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


@kernel("float64(float64[::1], float64, float64)")
def importance(state: Floats, y: float, weight: float) -> float:
    """How much an example weighs that is learnt next."""
    return float(weight * state[POSITIVE_WEIGHT] if y > 0 else weight)


@kernel()
def _faded(state: Floats, count: float, added: float) -> float:
    return float(count / state[_GROWTH] + added)


@kernel("void(float64[::1], int8[::1], float64[::1], float64[::1])")
def importances(state: Floats, y: Labels, weight: Floats, out: Floats) -> None:
    """How much examples weigh that are learnt next and observed afterwards, in order; all (n,)."""
    heavier = state[POSITIVE_WEIGHT]
    balanced = len(state) > _BALANCED and state[_BALANCED] > 0
    negatives, positives = 1.0, 1.0
    if balanced:
        negatives, positives = state[_NEGATIVES], state[_POSITIVES]
    for i in range(len(y)):
        out[i] = weight[i] * heavier if y[i] > 0 else weight[i]
        if balanced:
            negatives = _faded(state, negatives, 0.0 if y[i] > 0 else weight[i])
            positives = _faded(state, positives, weight[i] if y[i] > 0 else 0.0)
            heavier = negatives / positives


@kernel()
def _remember(state: Floats, z: float, y: float, weight: float, count: float) -> None:
    """What balances and the latest examples go on by one."""
    if state[_BALANCED] > 0:
        state[_NEGATIVES] = _faded(state, state[_NEGATIVES], 0.0 if y > 0 else weight)
        state[_POSITIVES] = _faded(state, state[_POSITIVES], weight if y > 0 else 0.0)
        state[POSITIVE_WEIGHT] = state[_NEGATIVES] / state[_POSITIVES]
        state[SHIFT] = -np.log(state[_NEGATIVE_COUNT]) - np.log(state[POSITIVE_WEIGHT])
    size = (len(state) - _LAST) // 3
    if size > 0:
        at = _LAST + 3 * (np.int64(state[_SEEN]) % size)
        state[at], state[at + 1], state[at + 2] = z, y, count
        state[_SEEN] += 1


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
    if len(state) > _BALANCED:
        _remember(state, z, y, weight, count)


@kernel("void(float64[::1], float64[::1], int8[::1], float64[::1])")
def observe_many(state: Floats, raw: Floats, y: Labels, weight: Floats) -> None:
    """`observe` each example in order; raw, y and weight are (n,)."""
    for i in range(len(raw)):
        observe(state, float(raw[i]), float(y[i]), float(weight[i]))


@kernel("void(float64[::1], float64[::1], float64[::1])")
def score_many(published: Floats, raw: Floats, out: Floats) -> None:
    """The probability of each raw log-odds; all but the first are (n,)."""
    for i in range(len(raw)):
        out[i] = probability(published, raw[i])


@kernel("void(float64[::1], float64[:, ::1])")
def calibrate(published: Floats, parts: Floats) -> None:
    """Contributions to raw log-odds (`models.contributions`) become those to calibrated ones.

    A curve changes all of a row by one factor, so that they go on to add up.
    """
    base = parts.shape[1] - 1
    for row in range(len(parts)):
        factor, bottom, rise = published[SLOPE], log_odds(published, parts[row, base]), 0.0
        for i in range(base):
            rise += factor * parts[row, i]
        if len(published) > CURVE:
            low = isotonic.rise(published, CURVE, bottom)
            step = rise if abs(rise) > _STEP else _STEP
            factor *= (isotonic.rise(published, CURVE, bottom + step) - low) / step
            bottom = low
        for i in range(base):
            parts[row, i] *= factor
        parts[row, base] = bottom


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


def _carry(published: Floats) -> None:
    """Put what was counted into the bins that the curve takes it to."""
    from_ = np.array([isotonic.rise(published, CURVE, middle) for middle in MIDDLES])
    where = np.clip((from_ - MIDDLES[0]) / (MIDDLES[1] - MIDDLES[0]) + 0.5, 0, BINS - 1)
    for start in (_COUNTS, _HITS):
        counts = published[start : start + BINS]
        counts[:] = np.bincount(where.astype(np.int64), counts, BINS)


def publish(state: Floats) -> Floats:
    """What a version needs: shift, slope, intercept, threshold, rate, bins; then a curve.

    The threshold is a cell edge of a histogram of log-odds (1/64 wide, from -16 to 16): the lowest
    at or above which the fading share of recent scores is within the budget.
    """
    published = np.empty(CURVE)
    published[:THRESHOLD] = state[:THRESHOLD]
    published[_RATE] = 1.0 / state[_NEGATIVE_COUNT]
    # The newest example as 1. Faded ones tell more than they count: intervals are rather too wide.
    published[_COUNTS:] = state[_BINS:_MORE] / state[_UNIT]
    if len(state) > _LAST:
        seen = min(int(state[_SEEN]), (len(state) - _LAST) // 3)
        latest = state[_LAST : _LAST + 3 * seen].reshape(-1, 3).T
        published = np.append(published, isotonic.fit(*np.ascontiguousarray(latest)))
        _carry(published)
    cell = _CELLS - _within_budget(state)
    seen_any = state[_TOTAL] > 0 and cell < _CELLS
    edge = cell / _CELLS_PER_UNIT - _RANGE
    if len(published) > CURVE:
        edge = isotonic.rise(published, CURVE, edge)
    published[THRESHOLD] = sigmoid(edge) if seen_any else 1.0
    return published


def blank(tensors: Mapping[str, npt.NDArray[Any]]) -> Floats:
    """Room for what `publish` gave a version of these tensors: with a curve or without."""
    given = tensors.get("calibration", np.empty(0))
    return np.empty(CURVE + isotonic.SIZE if len(given) > CURVE else CURVE)


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
        bounds(own[_COUNTS:_HITS], own[_HITS:CURVE], own[_RATE], table)
        return table
