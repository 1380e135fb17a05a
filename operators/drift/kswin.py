"""KSWIN: the latest values of a window beside a sample of those before, by Kolmogorov and Smirnov.

Raab, Heusinger and Schleif, *Reactive soft prototype computing for concept drift streams* (2020).
With an `alpha` it is River's `KSWIN`, sample included: `random.Random(seed)` draws it. Without one
it watches sequential ranks; as the distance of two samples of 30 has few values, the `run_length`
is met by telling at one of them only with a probability.

Two samples of n are apart by h / n: the p-value is that of Gnedenko and Korolyuk (1951), so that
alpha is a least h, found once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from operators.drift.detector import (
    ALARM,
    NOTHING,
    OWN,
    RANDOM,
    RUN,
    SINCE,
    TOLD,
    Arrays,
    Detector,
    Floats,
    Int8s,
    Int64s,
    word,
)
from operators.drift.ranks import rank
from operators.drift.runlength import setting
from operators.drift.twister import STATE, WORDS, sample, seeded, set_limit
from streams.draw import uniform
from streams.errors import ConfigError
from streams.jit import borrow, kernel

N, OLDEST, TWISTER = range(OWN, OWN + 3)
ORDER = TWISTER + WORDS
"""Words from here: the places of the values in the window, by value; marks; the sample."""
FARTHER_THAN = 10
"""Samples that are no more than this part of 1 apart are no alarm, as with River."""
WINDOW, STAT, LEAST, PART, LIMIT, SEEDED = range(6)


@kernel()
def _smaller(values: Floats, than: float) -> int:
    count = np.int64(0)
    for i in range(len(values)):
        count += np.int64(values[i] < than)
    return int(count)


@kernel()
def _enter(words: Int64s, reals: Floats, size: int, x: float) -> None:
    """Put a value into the window, in place of the oldest of `size`: reals are the values as they
    came, then as they rise.
    """
    order, rising = words[ORDER : ORDER + size], reals[size:]
    n = words[N]
    to = _smaller(rising[:n], x)
    if n < size:
        slot = at = n
        words[N] = n + 1
    else:
        slot = words[OLDEST]
        words[OLDEST] = slot + 1 if slot + 1 < size else 0
        at = _smaller(rising, reals[slot])
        while order[at] != slot:
            at += 1
        to -= np.int64(to > at)
    for i in range(at, to):
        rising[i], order[i] = rising[i + 1], order[i + 1]
    for i in range(at, to, -1):
        rising[i], order[i] = rising[i - 1], order[i - 1]
    reals[slot] = rising[to] = x
    order[to] = slot


@kernel()
def _distance(words: Int64s, reals: Floats, size: int, stat: int, limit: int) -> int:
    """The latest `stat` values beside a sample of as many before them: n times their distance."""
    order, marks = words[ORDER : ORDER + size], words[ORDER + size : ORDER + 2 * size]
    drawn, pool = words[ORDER + 2 * size :][:stat], words[ORDER + 2 * size + stat :]
    rising = reals[size:]
    sample(words, TWISTER, size - stat, limit, drawn, pool)
    marks[:] = 0
    oldest, latest = words[OLDEST], words[OLDEST] - 1
    for i in range(stat):
        slot = oldest + drawn[i]
        marks[np.uint64(slot if slot < size else slot - size)] = -1
        marks[np.uint64(latest if latest >= 0 else latest + size)] = 1
        latest -= 1
    apart = farthest = 0
    for i in range(size - 1):
        apart += marks[np.uint64(order[i])]
        if rising[i] < rising[i + 1]:
            farthest = max(farthest, abs(apart))
    return farthest


@kernel()
def step(words: Int64s, reals: Floats, settings: Floats, x: float) -> int:
    """Take one value; what it is told to be."""
    size, stat = np.int64(settings[WINDOW]), np.int64(settings[STAT])
    if words[TOLD] == ALARM:
        words[TOLD] = words[N] = words[OLDEST] = 0
        for i in range(STATE):
            words[TWISTER + i] = np.int64(settings[SEEDED + i])
    _enter(words, reals, size, x)
    if words[N] < size:
        return NOTHING
    apart = _distance(words, reals, size, stat, np.int64(settings[LIMIT]))
    part = settings[PART]
    if apart >= settings[LEAST] or (
        part > 0 and apart == settings[LEAST] - 1 and uniform(words, RANDOM) < part
    ):
        words[TOLD] = ALARM
        words[SINCE] = stat
    return int(words[TOLD])


@kernel(RUN)
def _run(
    values: Floats,
    words: Int64s,
    reals: Floats,
    settings: Floats,
    tree: Int64s,
    told: Int8s,
    since: Int64s,
) -> None:
    words, reals, settings, tree = borrow(words), borrow(reals), borrow(settings), borrow(tree)
    for i in range(len(values)):
        x = values[i]
        if len(tree):
            if words[TOLD] == ALARM:
                tree[:] = 0
            x = rank(tree, words, RANDOM, x)
        told[i] = step(words, reals, settings, x)
        since[i] = words[SINCE]


def least_apart(n: int, alpha: float) -> int:
    """The least h of two samples of n whose p-value is at most alpha and which are far enough
    apart; n + 1 where none is.

    >>> least_apart(30, 0.005)
    14
    """
    ways, level = math.comb(2 * n, n), Fraction(alpha)
    low, high = n // FARTHER_THAN, n + 1
    while high - low > 1:
        h = (low + high) // 2
        steps = range(1, n // h + 1)
        outside = 2 * sum((-1) ** (k - 1) * math.comb(2 * n, n - k * h) for k in steps)
        low, high = (low, h) if outside <= level * ways else (h, high)
    return high


@dataclass(frozen=True, slots=True, kw_only=True)
class Kswin:
    """Tells when the latest `stat_size` of `window_size` values are distributed otherwise.

    Without an `alpha`: values to a false alarm are `run_length` on average, on any stream whose
    values are in no particular order, with a window of 100 and 30. With one: River's with the same
    seed. Memory: 35 kB, 19 kB as River's with a window of 100.

    >>> import numpy as np
    >>> values = np.concatenate([np.arange(200) % 7, np.arange(50) % 7 + 5]).astype(float)
    >>> Kswin(alpha=0.0001, seed=42).bind().update_many(values).alarms.tolist()
    [221]
    """

    run_length: float = 100_000
    alpha: float | None = None
    window_size: int = 100
    stat_size: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.stat_size <= self.window_size // 2:
            raise ConfigError(
                "Kswin: stat_size is at least 1 and at most half of window_size, got "
                f"{self.stat_size} of {self.window_size}"
            )
        if self.alpha is None and (self.window_size, self.stat_size) != (100, 30):
            raise ConfigError(
                "Kswin: run lengths are known for a window_size of 100 and a stat_size of 30, got "
                f"{self.window_size} and {self.stat_size}; give an alpha"
            )

    @property
    def calibrated(self) -> bool:
        """Whether the run length is kept."""
        return self.alpha is None

    def arrays(self) -> Arrays:
        """What it starts with."""
        n = self.stat_size
        if self.alpha is None:
            told = setting("Kswin", self.run_length)
            least, part = math.floor(told) + 1, 1 - told % 1
        else:
            least, part = least_apart(n, self.alpha), 0.0
        twister = seeded(self.seed)
        words = np.zeros(ORDER + 3 * self.window_size, np.int64)
        words[RANDOM] = word(self.seed)
        words[TWISTER : TWISTER + STATE] = twister
        own = self.window_size, n, least, part, set_limit(n)
        return Arrays(words, np.zeros(2 * self.window_size), np.array([*own, *twister], float))

    def bind(self) -> Detector:
        """One that has seen nothing."""
        return Detector("Kswin", _run, self)
