"""The highest rate that is borne: found by bisection, under a limit on p99."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from jobs.load.generator import Generator, Load, Target
from jobs.load.results import Measured
from jobs.load.rounds import once

PRECISION = 0.05
TRIES = 2
"""A rate is borne if it is in one of so many tries: the machine's own stalls are no verdict."""


class Try(NamedTuple):
    """A run at a rate, and whether it was borne."""

    rate: float
    borne: bool
    measured: Measured


def saturate(
    generator: Generator,
    target: Target,
    load: Load,
    limit_ms: float,
    told: Callable[[Try], None] = lambda _: None,
) -> float:
    """The highest rate, within 5 %, at which p99 stays within the limit and nothing is missing.

    Doubles from the load's own rate, or halves, until it has a rate that is borne and one that is
    not. Returns 0 when 1 event a second is too much.
    """

    def borne(rate: float) -> bool:
        for _ in range(TRIES):
            measured = once(generator, target, replace(load, rate=rate))
            good = not measured.missing and measured.latency_ms["p99"] <= limit_ms
            told(Try(rate, good, measured))
            if good:
                return True
        return False

    return highest(borne, load.rate)


def highest(borne: Callable[[float], bool], start: float) -> float:
    """The highest number that is borne, within PRECISION, if those below it are.

    >>> 930 < highest(lambda rate: rate <= 1000, start=64) <= 1000
    True
    """
    low, high = 0.0, start
    while borne(high):
        low, high = high, 2 * high
    while not low and high > 1:
        if borne(high / 2):
            low = high / 2
        else:
            high /= 2
    while low and high / low > 1 + PRECISION:
        middle = (low * high) ** 0.5
        if borne(middle):
            low = middle
        else:
            high = middle
    return low
