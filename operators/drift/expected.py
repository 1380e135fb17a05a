"""Where positives were to be expected by the scores, and where they came.

A score says how likely an event is positive, so the scores of recent events, each counted by its
probability, say of what scores the next positive will be. Its *place* is the share of this
expectation that lies above it: even in (0, 1) as long as labels follow from inputs as the scores
have it, whether positives become more or fewer and whatever the inputs are, since both move the
expectation too. Positives that the model no longer recognises come at low scores: at places near 1.

Its *gap* is the sum of the probabilities since the positive before, exponentially distributed with
mean 1 as long as there are as many positives as the scores say: time rescaled by the hazard (Brown,
Barbieri, Ventura, Kass and Frank, 2002).

Either is watched by Page-Hinkley's test over its sequential ranks, for all events and for each
value of each slice: the word *series* is of one of these.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.drift.detector import ALARM, RANDOM, TOLD, Floats, Int64s
from operators.drift.page_hinkley import (
    FALL,
    LEAST,
    LEAST_AT,
    MOST,
    MOST_AT,
    RISE,
    SIDE,
    N,
    step,
)
from operators.drift.ranks import rank, surprise
from operators.labels import BY_MATURITY
from streams.draw import uniform
from streams.jit import kernel

PLACE, GAP = range(2)
"""What is watched of a series."""
EXAMPLES, POSITIVES, LOSS, SCORES, LEVEL, TIME = range(6)
"""What is summed up: examples, positives, their losses, their scores; what is watched; and when the
latest positive was."""
NOW, AT_LEAST, AT_MOST = range(3)
"""Sums until now, and as they were when rises or falls began."""
OPEN, BEFORE, AFTER, LATELY, SINCE_TOLD = range(5)
"""Of an alarm: 1 or -1 while things are higher or lower than they were, means, positives since."""
BINS = 256
SCALE, TOTAL, HAZARD = BINS, BINS + 1, BINS + 2
SERIES, TRACK, WHAT, SIZE = range(4)
"""Of a row that is told, followed by sums before and after."""
TOLD_WIDTH = 4 + 2 * (TIME + 1)
BEGAN, ENDED = 1, 2

_PER_UNIT, _REACH = 8, 16
_SMALLEST = 1e-12
GROWTH = 2.0 ** (1 / 4_000)
"""An example counts half of one that is 4,000 later."""
_RENEW = 2.0**64
_SLOW = 1.0 / 256
SETTLED = 1_000
"""Positives after which one more change to the same side is told."""
NEGATIVES = 1_000
"""Told negatives from which on it may begin, though none has come by its maturity."""


@kernel()
def _expect(expected: Floats, place: int, p: float) -> None:
    """Count a score among those that expect positives."""
    expected[SCALE] *= GROWTH
    if expected[SCALE] > _RENEW:
        for i in range(TOTAL + 1):
            expected[i] /= _RENEW
    expected[place] += p * expected[SCALE]
    expected[TOTAL] += p * expected[SCALE]


@kernel()
def _above(expected: Floats, place: int, part: float) -> float:
    """The share of the expectation above a bin and so much of it."""
    above = expected[place] * part
    for i in range(place + 1, BINS):
        above += expected[i]
    return above / expected[TOTAL]


@kernel()
def _observe(
    words: Int64s,
    reals: Floats,
    settings: Floats,
    tree: Int64s,
    sums: Floats,
    alarm: Floats,
    x: float,
    row: Floats,
) -> bool:
    """Take the next of what is watched; whether there is something to tell, written to the row."""
    if words[TOLD] == ALARM:
        tree[:] = 0
    told = step(words, reals, settings, surprise(rank(tree, words, RANDOM, x)))
    if words[LEAST_AT] == words[N]:
        sums[AT_LEAST] = sums[NOW]
    if words[MOST_AT] == words[N]:
        sums[AT_MOST] = sums[NOW]
    if told == ALARM:
        side = words[SIDE]
        was = AT_LEAST if side > 0 else AT_MOST
        row[SIZE] = reals[RISE] - reals[LEAST] if side > 0 else reals[MOST] - reals[FALL]
        row[SIZE + 1 : SIZE + 1 + TIME + 1] = sums[was]
        row[SIZE + 2 + TIME :] = sums[NOW] - sums[was]
        row[TOLD_WIDTH - 1] = sums[NOW, TIME]
        back = alarm[OPEN] == -side
        same = alarm[OPEN] == side and alarm[SINCE_TOLD] < SETTLED
        row[WHAT] = ENDED if back else BEGAN
        if back:
            alarm[OPEN] = 0.0
        elif not same:
            alarm[OPEN] = side
            alarm[BEFORE] = sums[was, LEVEL] / sums[was, POSITIVES]
            now = sums[NOW] - sums[was]
            alarm[AFTER] = alarm[LATELY] = now[LEVEL] / now[POSITIVES]
            alarm[SINCE_TOLD] = 0.0
        sums[:] = 0.0
        return not same
    if alarm[OPEN] == 0:
        return False
    alarm[LATELY] += _SLOW * (x - alarm[LATELY])
    alarm[SINCE_TOLD] += 1.0
    middle = (alarm[BEFORE] + alarm[AFTER]) / 2
    if (alarm[LATELY] - middle) * (alarm[AFTER] - middle) < 0:
        row[WHAT], row[SIZE] = ENDED, 0.0
        row[SIZE + 1 : SIZE + 1 + TIME + 1] = 0.0
        row[SIZE + 2 + TIME :] = sums[NOW]
        alarm[OPEN] = 0.0
        words[TOLD] = ALARM  # As after an alarm: what is now is what it begins with.
        sums[:] = 0.0
        return True
    return False


@kernel(
    "int64(float64[::1], int8[::1], uint8[::1], int64[::1], int64[:, ::1], int64[::1],"
    " int64[:, :, ::1], float64[:, :, ::1], float64[:, ::1], int64[:, :, ::1], float64[:, ::1],"
    " float64[:, :, :, ::1], float64[:, :, ::1], float64[:, ::1])"
)
def take(
    score: Floats,
    y: npt.NDArray[np.int8],
    cause: npt.NDArray[np.uint8],
    time_us: Int64s,
    series: Int64s,
    begun: Int64s,
    words: Int64s,
    reals: Floats,
    settings: Floats,
    trees: Int64s,
    expected: Floats,
    sums: Floats,
    alarms: Floats,
    out: Floats,
) -> int:
    """Take n matured examples, in order, each in its `series` (n, k), -1 for none; write what is
    to be told to rows of `out` and return how many. The other arrays have a row a series.

    Until negatives come too, positives are only those that become known early: nothing is watched.
    """
    rows = 0
    for i in range(len(score)):
        if begun[0] == 0:
            begun[1] += 1 - y[i]
            if cause[i] != BY_MATURITY and begun[1] < NEGATIVES:
                continue
            begun[0] = 1
        p = min(max(score[i], _SMALLEST), 1.0 - _SMALLEST)
        hit, miss = -np.log(p), -np.log1p(-p)
        place = np.int64(min(max((miss - hit + _REACH) * _PER_UNIT, 0.0), BINS - 1.0))
        for k in range(series.shape[1]):
            s = series[i, k]
            if s < 0:
                continue
            _expect(expected[s], place, p)
            for track in range(2):
                sums[s, track, NOW, EXAMPLES] += 1.0
                sums[s, track, NOW, LOSS] += hit if y[i] else miss
                sums[s, track, NOW, SCORES] += p
            if y[i] == 0:
                expected[s, HAZARD] += miss
                continue
            for track in range(2):
                part = uniform(words[s, track], RANDOM)
                if track == PLACE:
                    x = _above(expected[s], place, part)
                else:
                    x = expected[s, HAZARD] - np.log1p(-part * p)
                sums[s, track, NOW, POSITIVES] += 1.0
                sums[s, track, NOW, LEVEL] += x
                sums[s, track, NOW, TIME] = time_us[i]
                out[rows, SERIES], out[rows, TRACK] = s, track
                rows += _observe(
                    words[s, track],
                    reals[s, track],
                    settings[track],
                    trees[s, track],
                    sums[s, track],
                    alarms[s, track],
                    x,
                    out[rows],
                )
            expected[s, HAZARD] = 0.0
    return rows
