"""Axes: a range and the ticks a reader expects on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
STEPS_US = [HOUR_US * hours for hours in (1, 2, 3, 6, 12, 24, 48, 7 * 24, 14 * 24)]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MONDAY_US = 4 * DAY_US
MANY_DIGITS = 10_000
NARROWEST = 1e-12
"""No axis of numbers spans less."""
NARROW = 5.0
FINE = "0.001 0.01 0.02 0.05 0.1 0.2 0.5 1 2 5 10 20 35 50 65 80 90 95 98 99 99.5 99.9"
"""Per cent on an axis of less than NARROW log-odds."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of drawn values, with ticks as (value, text) and a title."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    title: str = ""


def number_axis(low: float, high: float, title: str = "", *, count: int = 5) -> Axis:
    """About `count` steps of 1, 2 or 5 times a power of ten, from the tick below to that above.

    >>> [text for _, text in number_axis(0.0, 0.93).ticks]
    ['0.0', '0.2', '0.4', '0.6', '0.8', '1.0']
    """
    span = max(high - low if high > low else abs(high) or 1.0, NARROWEST)
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(power * m for m in (1, 2, 5, 10) if power * m * count >= span * 0.999)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = [(i * step, _plain(i * step, decimals)) for i in range(first, last + 1)]
    return Axis(first * step, last * step, tuple(ticks), title)


def _plain(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}" if decimals else short(value)


def short(value: float) -> str:
    """A number as it is read: thousands as k, millions as M.

    >>> short(950), short(12_500), short(3_000_000)
    ('950', '12.5k', '3M')
    """
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit and (unit > 1e3 or abs(value) >= MANY_DIGITS or value % unit == 0):
            return f"{value / unit:.4g}{letter}"
    return f"{value:.4g}"


def log_axis(most: float, title: str = "") -> Axis:
    """Decades from just under 1 to `most`; drawn values are logarithms to base 10.

    >>> [text for _, text in log_axis(2_000).ticks]
    ['1', '10', '100', '1k']
    """
    high = max(math.log10(max(most, 1.0)) + 0.1, 1.0)
    every = math.ceil(high / 6)
    ticks = [(float(d), short(10.0**d)) for d in range(0, math.floor(high) + 1, every)]
    return Axis(-0.3, high, tuple(ticks), title)


def odds_axis(low: float, high: float, title: str = "") -> Axis:
    """Probabilities spaced by their log-odds; drawn values are log-odds.

    >>> [text for _, text in odds_axis(-5, 5).ticks]
    ['1 %', '10 %', '50 %', '90 %', '99 %']
    """
    texts = "0.0001 0.001 0.01 0.1 1 10 50 90 99 99.9 99.99" if high - low > NARROW else FINE
    ticks = [(log_odds(float(text) / 100), f"{text} %") for text in texts.split()]
    return Axis(low, high, tuple(tick for tick in ticks if low <= tick[0] <= high), title)


def log_odds(probability: float) -> float:
    """The log-odds of a probability, which is not 0 or 1.

    >>> log_odds(0.5)
    0.0
    """
    return math.log(probability / (1 - probability))


def time_axis(low_us: int, high_us: int, *, count: int = 12) -> Axis:
    """Hours, days, Mondays or months in UTC, whichever gives at most `count` ticks.

    >>> day = 86_400_000_000
    >>> axis = time_axis(0, 5 * day, count=6)
    >>> [text for _, text in axis.ticks], axis.title
    (['1 Jan', '2 Jan', '3 Jan', '4 Jan', '5 Jan', '6 Jan'], '1970, UTC')
    """
    high_us = max(high_us, low_us + HOUR_US)
    fitting = (step for step in STEPS_US if (high_us - low_us) / step <= count)
    step = next(fitting, None)
    if step is None:
        ticks = [(tick, _moment(tick).strftime("%b")) for tick in _months(low_us, high_us, count)]
    else:
        origin = MONDAY_US if step >= 7 * DAY_US else 0
        first = low_us + (origin - low_us) % step
        hourly = step < DAY_US
        ticks = [
            (tick, _tick_text(tick, hourly=hourly)) for tick in range(first, high_us + 1, step)
        ]
    years = sorted({_moment(low_us).year, _moment(high_us).year})
    return Axis(low_us, high_us, tuple(ticks), "–".join(map(str, years)) + ", UTC")


def _moment(time_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=time_us)


def _tick_text(time_us: int, *, hourly: bool) -> str:
    moment = _moment(time_us)
    if hourly and moment.hour:
        return moment.strftime("%H:%M")
    return f"{moment.day} {moment:%b}"


def _months(low_us: int, high_us: int, count: int) -> list[int]:
    low, high = _moment(low_us), _moment(high_us)
    first, last = low.year * 12 + low.month - 1, high.year * 12 + high.month - 1
    moments = (datetime(m // 12, m % 12 + 1, 1, tzinfo=UTC) for m in range(first, last + 1))
    starts = [(moment - EPOCH) // timedelta(microseconds=1) for moment in moments]
    inside = [start for start in starts if start >= low_us]
    return inside[:: max(math.ceil(len(inside) / count), 1)]
