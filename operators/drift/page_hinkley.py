"""Page-Hinkley: the sum of deviations from the mean, as far as it has come from its extreme.

Page, *Continuous inspection schemes* (1954). With a `threshold` it is River's `PageHinkley`: the
mean is that of the values so far, sums fade by `alpha`. Without one it watches sequential ranks and
finds the threshold for the `run_length` by itself (`operators.drift.runlength`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
from operators.drift.ranks import rank, surprise
from operators.drift.runlength import cusum_threshold
from streams.errors import ConfigError
from streams.jit import borrow, kernel

Mode = Literal["up", "down", "both"]
N, LEAST_AT, MOST_AT, SIDE = range(OWN, OWN + 4)
MEAN, RISE, LEAST, FALL, MOST = range(5)
LEAST_N, DELTA, THRESHOLD, FADE, UP, DOWN, RUNNING = range(7)


@kernel()
def clear(words: Int64s, reals: Floats) -> None:
    """As if it had seen nothing; random numbers go on."""
    words[TOLD] = words[N] = words[LEAST_AT] = words[MOST_AT] = words[SIDE] = 0
    reals[MEAN] = reals[RISE] = reals[FALL] = 0.0
    reals[LEAST], reals[MOST] = np.inf, -1.0


@kernel()
def _move(
    n: int,
    mean: float,
    rise: float,
    least: float,
    least_at: int,
    fall: float,
    most: float,
    most_at: int,
    settings: Floats,
    x: float,
) -> tuple[float, float, float, int, float, float, int]:
    """The same after the n-th value: the mean, sums, their extremes, and when these were."""
    if settings[RUNNING] > 0:
        mean += (1.0 / n) * (x - mean)
    apart = x - mean
    rise = settings[FADE] * rise + apart - settings[DELTA]
    fall = settings[FADE] * fall + apart + settings[DELTA]
    if rise < least:
        least, least_at = rise, n
    if fall > most:
        most, most_at = fall, n
    return mean, rise, least, least_at, fall, most, most_at


@kernel()
def _side(n: int, rise: float, fall: float, settings: Floats) -> int:
    """1 where the n-th value tells of a rise, -1 of a fall, 0 of nothing."""
    if n < settings[LEAST_N]:
        return 0
    if settings[UP] > 0 and rise > settings[THRESHOLD]:
        return 1
    return -1 if settings[DOWN] > 0 and fall > settings[THRESHOLD] else 0


@kernel()
def step(words: Int64s, reals: Floats, settings: Floats, x: float) -> int:
    """Take one value; what it is told to be."""
    if words[TOLD] == ALARM:
        clear(words, reals)
    n = words[N] + 1
    mean, rise, least, least_at, fall, most, most_at = _move(
        n,
        reals[MEAN],
        reals[RISE],
        reals[LEAST],
        words[LEAST_AT],
        reals[FALL],
        reals[MOST],
        words[MOST_AT],
        settings,
        x,
    )
    words[N], words[LEAST_AT], words[MOST_AT] = n, least_at, most_at
    reals[MEAN], reals[RISE], reals[LEAST], reals[FALL], reals[MOST] = mean, rise, least, fall, most
    words[SIDE] = _side(n, rise - least, most - fall, settings)
    if words[SIDE] == 0:
        return NOTHING
    words[TOLD] = ALARM
    words[SINCE] = n - (least_at if words[SIDE] > 0 else most_at)
    return ALARM


@kernel()
def _skip(values: Floats, i: int, words: Int64s, reals: Floats, settings: Floats) -> int:
    """Take values from the i-th on until before one that tells something; its place."""
    if words[TOLD] == ALARM:
        clear(words, reals)
    n, least_at, most_at = words[N], words[LEAST_AT], words[MOST_AT]
    mean, rise, least, fall, most = reals[MEAN], reals[RISE], reals[LEAST], reals[FALL], reals[MOST]
    while i < len(values):
        after = _move(n + 1, mean, rise, least, least_at, fall, most, most_at, settings, values[i])
        if _side(n + 1, after[1] - after[2], after[5] - after[4], settings) != 0:
            break
        mean, rise, least, least_at, fall, most, most_at = after
        n += 1
        i += 1
    words[N], words[LEAST_AT], words[MOST_AT] = n, least_at, most_at
    reals[MEAN], reals[RISE], reals[LEAST], reals[FALL], reals[MOST] = mean, rise, least, fall, most
    return i


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
    """`step` through values: without ranks, as far as nothing is told, outside of arrays."""
    words, reals, settings, tree = borrow(words), borrow(reals), borrow(settings), borrow(tree)
    i = 0
    while i < len(values):
        if len(tree):
            if words[TOLD] == ALARM:
                tree[:] = 0
            x = surprise(rank(tree, words, RANDOM, values[i]))
        else:
            i = _skip(values, i, words, reals, settings)
            if i == len(values):
                return
            x = values[i]
        told[i] = step(words, reals, settings, x)
        since[i] = words[SINCE]
        i += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PageHinkley:
    """Tells when values have become larger (`mode` up), smaller (down), or either (both).

    Without a `threshold`: values to a false alarm are `run_length` on average, on any stream whose
    values are in no particular order, and a change by `shift` standard deviations is told soonest;
    `delta` and `alpha` are not read. With one: River's, with its defaults for the others.
    Memory: 16.5 kB, 200 bytes as River's.

    >>> import numpy as np
    >>> values = np.concatenate([np.zeros(100), np.ones(100)])
    >>> changes = PageHinkley(threshold=10.0).bind().update_many(values)
    >>> changes.alarms.tolist(), changes.since.tolist()
    ([110], [11])
    """

    run_length: float = 100_000
    shift: float = 0.5
    mode: Mode = "both"
    min_instances: int = 30
    threshold: float | None = None
    delta: float = 0.005
    alpha: float = 1 - 0.0001
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in ("up", "down", "both"):
            raise ConfigError(f"PageHinkley: mode is up, down or both, got {self.mode!r}")
        if not 0 < self.shift <= 2:
            raise ConfigError(f"PageHinkley: shift is above 0 and at most 2, got {self.shift}")

    @property
    def calibrated(self) -> bool:
        """Whether the run length is kept."""
        return self.threshold is None

    def arrays(self) -> Arrays:
        """What it starts with."""
        words, reals = np.zeros(SIDE + 1, np.int64), np.zeros(5)
        clear(words, reals)
        words[RANDOM] = word(self.seed)
        sides = self.mode != "down", self.mode != "up"
        if self.threshold is not None:
            own = (self.delta, self.threshold, self.alpha, *sides, 1)
        else:
            threshold = cusum_threshold(self.run_length, self.shift / 2, *sides)
            own = (self.shift / 2, threshold, 1.0, *sides, 0)
        return Arrays(words, reals, np.array([self.min_instances, *own], np.float64))

    def bind(self) -> Detector:
        """One that has seen nothing."""
        return Detector("PageHinkley", _run, self)
