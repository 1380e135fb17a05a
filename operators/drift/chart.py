"""A chart that learns what is usual as it goes, and tells when that has moved.

Hawkins' self-starting CUSUM (1987): each value is compared with those before it, and Student's t of
the comparison is brought to the normal distribution (Wallace, 1959). For independent normal values
those are independent and standard normal, whatever the mean and deviation, so that the run length
is known from the second value on (Siegmund, *Sequential Analysis*, 1985). Values that follow each
other are alike where cases of fraud go on for days, so what is compared is what is left of a value
when `persistence` has taken off what those before it foretold. They are skewed, too: a day without
a large case is no news, one with three is. So the skewness so far is taken off (Cornish and Fisher,
1938).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.drift import persistence
from operators.drift.persistence import foretold, remember, settle
from streams.jit import kernel

Floats = npt.NDArray[np.float64]

SLACK = 0.5
"""Half the change, in deviations, that is to be found soonest."""
MEMORY = 200
"""Values that the mean and the deviation are of: older ones fade."""
FORETOLD = 0.9
"""The part of a deviation that is taken for foretold, at most."""
SETTLED = 30
"""After so many values away from what was usual, the new is."""
_LEAST = 3
_FURTHER = 3.0
"""A chart of falls takes a rise for the new usual when it is surer by so much."""
_INSIDE, _EVEN = 3.0, 20.0
"""Deviations that skewness is learnt from, at most; how many values say beforehand that there is
none."""

(
    SEEN, MEAN, DEGREES, VARIANCE,
    UP, UP_SINCE, UP_SUM, UP_COUNT,
    DOWN, DOWN_SINCE, DOWN_SUM, DOWN_COUNT,
    RAISED, BEFORE, LEVEL, AWAY, SIZE, SINCE, SEEN_BEFORE, SKEWNESS,
) = range(20)  # fmt: skip
"""Of a chart: of what is usual; of either sum; of the change that was told; of deviations."""
PAST = 20
"""From there on, what `persistence` knows."""
FIELDS = PAST + persistence.FIELDS


class Signal(NamedTuple):
    """What a chart tells of the value it was given last."""

    over: bool
    """Whether the change that was told has ended."""
    since_us: int
    before: float
    """What was usual."""
    now: float
    """The mean since then."""
    size: float
    """The cumulative sum, in standard deviations."""


def threshold(run_length: float, sides: int = 2) -> float:
    """How high a sum may go, for that many values on average between two false alarms.

    >>> round(threshold(465.0), 1), round(threshold(465.0, 1), 1)
    (5.0, 4.3)
    """
    low, high = 0.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        wide = 2 * SLACK * (middle + 1.166)
        if (math.exp(wide) - wide - 1) / (2 * SLACK**2) < sides * run_length:
            low = middle
        else:
            high = middle
    return high


class Chart:
    """Charts of several series, each told one value at a time; nan is none.

    `run_length` is that of all together: how many times they are told values, on average, between
    two false alarms. `sides` is 2, or -1 for charts of falls alone. While a change lasts it is told
    once; it is over when values are nearer to what was usual before it than to what they became, or
    after 30 values, when what they became is usual. Memory: 192 bytes a chart.

    >>> chart = Chart(1, run_length=100.0)
    >>> values = [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 9.0, 9.0]
    >>> [time for time, value in enumerate(values) if chart.take(0, value, time)]
    [6]
    """

    def __init__(self, count: int, *, run_length: float, sides: int = 2) -> None:
        self.cells = np.zeros((count, FIELDS))
        self.sides = sides
        self.threshold = threshold(run_length * count, abs(sides))

    def take(self, which: int, value: float, time_us: int) -> Signal | None:
        """Tell a chart its next value, of this time."""
        own = self.cells[which]
        told = _take(own, value, float(time_us), self.threshold, self.sides)
        if not told:
            return None
        since = int(own[SINCE]) if told > 0 else time_us
        return Signal(told < 0, since, float(own[BEFORE]), float(own[LEVEL]), float(own[SIZE]))

    def raised(self, which: int) -> bool:
        """Whether a change was told that lasts."""
        return bool(self.cells[which, RAISED])


@kernel("float64(float64, float64)")
def normal_of(t: float, degrees: float) -> float:
    """The normal deviate as unlikely as this of Student's t; within 3 % from 2 degrees on.

    >>> round(normal_of(2.776, 4.0), 2)
    1.95
    """
    far = np.sqrt(degrees * np.log1p(t * t / degrees)) * (8 * degrees + 1) / (8 * degrees + 3)
    return float(far if t > 0 else -far)


@kernel()
def _even(own: Floats, u: float) -> float:
    """A deviate without the skewness of those before it."""
    inside = min(max(u, -_INSIDE), _INSIDE)
    even = u - own[SKEWNESS] / 6.0 * (inside * inside - 1.0)
    own[SKEWNESS] += (inside**3 - own[SKEWNESS]) / (own[DEGREES] + _EVEN)
    return float(even)


@kernel()
def _sum(own: Floats, at: int, u: float, value: float, time: float) -> None:
    """Add to the sum at a place. A change began where it was 0, or where one value says more."""
    if u - SLACK > own[at]:
        own[at + 1], own[at + 2], own[at + 3] = time, 0.0, 0.0
    own[at] = max(own[at] + u - SLACK, 0.0)
    own[at + 2] += value
    own[at + 3] += 1.0


@kernel()
def _absorb(own: Floats, value: float) -> None:
    """Mean and variance go on by one value."""
    if own[SEEN] == 0.0:
        own[MEAN] = value
        settle(own[PAST:], value)
    apart = value - own[MEAN]
    news = apart - foretold(own[PAST:], own[MEAN], FORETOLD)
    remember(own[PAST:], own[MEAN], value)
    own[SEEN] = min(own[SEEN] + 1.0, MEMORY)
    own[MEAN] += apart / own[SEEN]
    if own[SEEN] > 1.0:
        own[DEGREES] = min(own[DEGREES] + 1.0, MEMORY)
        fresh = news * news * (own[SEEN] - 1.0) / own[SEEN]
        own[VARIANCE] += (fresh - own[VARIANCE]) / own[DEGREES]


@kernel()
def _signal(own: Floats, at: int, sides: int) -> int:
    """A sum has gone too high: what that means. Where it has gone is usual from now on."""
    way = 1.0 if at == UP else -1.0
    level, told = own[at + 2] / own[at + 3], 0
    seen = own[at + 3]
    if own[RAISED] == 0.0 and (sides > 0 or at == DOWN):
        own[RAISED], own[AWAY], told = way, 0.0, 1
        own[BEFORE], own[SEEN_BEFORE] = own[MEAN], own[SEEN]
        own[SIZE], own[SINCE] = own[at], own[at + 1]
    elif way * own[RAISED] < 0.0 and abs(level - own[BEFORE]) < abs(level - own[LEVEL]):
        own[RAISED], own[SIZE], told = 0.0, own[at], -1
    own[LEVEL] = own[MEAN] = level
    if told < 0:
        own[MEAN], seen = own[BEFORE], own[SEEN_BEFORE]
    own[SEEN] = seen
    settle(own[PAST:], own[MEAN])
    for i in range(UP, RAISED):
        own[i] = 0.0
    return told


@kernel("int64(float64[::1], float64, float64, float64, int64)")
def _take(own: Floats, value: float, time: float, limit: float, sides: int) -> int:
    """1 for a change, -1 for the end of one, else 0."""
    if np.isnan(value):
        return 0
    if own[SEEN] >= _LEAST and own[VARIANCE] > 0.0:
        news = value - own[MEAN] - foretold(own[PAST:], own[MEAN], FORETOLD)
        t = news / np.sqrt(own[VARIANCE] * (1.0 + 1.0 / own[SEEN]))
        u = _even(own, normal_of(t, own[DEGREES]))
        _sum(own, UP, u, value, time)
        _sum(own, DOWN, -u, value, time)
        if own[DOWN] > limit:
            return int(_signal(own, DOWN, sides))
        if own[UP] > (limit if sides > 0 else limit + _FURTHER):
            return int(_signal(own, UP, sides))
    _absorb(own, value)
    own[AWAY] += 1.0
    if own[RAISED] == 0.0 or own[AWAY] < SETTLED:
        return 0
    own[RAISED], own[LEVEL] = 0.0, own[MEAN]
    return -1


class EarlyAndLate:
    """Charts of what is estimated at once, and of the same when labels have told it.

    What both notice is one change: it is told by the one that is first, and is over when neither
    has it. What the late ones find of a time before that is known.
    """

    def __init__(self, count: int, *, run_length: float, sides: int = 2) -> None:
        self.charts = Chart(2 * count, run_length=run_length, sides=sides)
        self.count = count
        self.until_us = np.full(count, np.iinfo(np.int64).min)
        """When the last change was over."""

    def take(self, which: int, value: float, time_us: int, *, late: bool) -> Signal | None:
        """Tell one of the charts its next value; what it says, if it is news."""
        signal = self.charts.take(which + self.count * late, value, time_us)
        if not signal or self.charts.raised(which + self.count * (not late)):
            return None
        if signal.over:
            self.until_us[which] = time_us
        elif signal.since_us <= self.until_us[which]:
            return None
        return signal

    @property
    def threshold(self) -> float:
        """From what size on a change is told."""
        return self.charts.threshold

    def parts(self) -> dict[str, npt.NDArray[Any]]:
        """All that changes, by name."""
        return {"charts": self.charts.cells, "until": self.until_us}
