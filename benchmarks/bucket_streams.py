"""Streams of buckets drawn at once: what monitors of drift are tried on, a year in a second.

Values are of one of `VALUES` bins a row. How often each comes may go with the hour of the week
(seasonal) and from day to day (clustered: one day's events are alike, as customers come again).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operators.drift.bucket import NOBODY, Bucket
from operators.drift.sketch import HALF, Sketch
from streams.schema import DAY, SECOND

Floats = npt.NDArray[np.float64]

VALUES = 24
HOUR = 3600 * SECOND
BEGIN = 19_723 * DAY
"""Monday 2024-01-01."""
FIRST = HALF + 20
"""The bin of the first value."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A world of buckets."""

    rows: int = 10
    per_day: float = 10_000
    bucket_us: int = HOUR
    seasonal: float = 0.0
    """How far the logarithms of shares go with the hour of the week."""
    clustered: float = 0.0
    """How far they go from day to day."""
    memory: float = 0.0
    """How much of a day's state is left on the next."""
    seed: int = 0
    shift: float = 0.0
    """By how many deviations the distribution of `shifted` rows moves, from `shift_us` on."""
    shift_us: int = 1 << 62
    shifted: tuple[int, ...] = (0,)

    def buckets(self, days: int) -> Iterator[Bucket]:
        """Of so many days from a Monday."""
        rng = np.random.default_rng(self.seed)
        places = (np.arange(VALUES) - VALUES / 2 + 0.5) / (VALUES / 6)
        base = -(places**2) / 2 + 0.3 * rng.normal(size=(self.rows, VALUES))
        waves = _waves(rng, self.rows, places)
        per_day = DAY // self.bucket_us
        hours = (np.arange(per_day) + 0.5) * 24 / per_day
        pace = 1 + 0.8 * np.sin((hours - 9) / 24 * 2 * np.pi) * bool(self.seasonal)
        state = rng.normal(size=(self.rows, 4))
        angles = hours[:, None, None] / 24 * 2 * np.pi
        moved = self.shift * np.isin(np.arange(self.rows), self.shifted)[:, None] * places
        for day in range(days):
            fresh = rng.normal(size=state.shape)
            state = self.memory * state + np.sqrt(1 - self.memory**2) * fresh
            weekend = 1.0 if day % 7 > 4 else 0.0
            turn = self.seasonal * (np.sin(angles) * waves[0] + weekend * waves[1])
            start = BEGIN + day * DAY + np.arange(per_day) * self.bucket_us
            shifted = (start >= self.shift_us)[:, None, None] * moved
            odds = np.exp(base + self.clustered * _over(state, places) + turn + shifted)
            n = rng.poisson(self.per_day / per_day * pace)
            drawn = rng.multinomial(n[:, None], odds / odds.sum(axis=2, keepdims=True))
            for at in range(per_day):
                begin = int(start[at])
                yield bucket_of(drawn[at], begin, begin + self.bucket_us)


def bucket_of(drawn: npt.NDArray[np.int64], start_us: int, end_us: int) -> Bucket:
    """A bucket with these counts (rows, VALUES), of features and of scores alike."""
    sketch = Sketch.empty(len(drawn))
    sketch.counts[:, FIRST : FIRST + VALUES] = drawn
    return Bucket(start_us, end_us, sketch, sketch, NOBODY, 1)


def _waves(rng: np.random.Generator, rows: int, places: Floats) -> Floats:
    return np.stack([_over(rng.normal(size=(rows, 4)), places) for _ in range(2)])


def _over(state: Floats, places: Floats) -> Floats:
    """Four numbers a row as smooth changes of the logarithms of its shares."""
    angles = places / 3 * np.pi
    shapes = np.stack([np.sin(angles / 2), np.cos(angles / 2), np.sin(angles), np.cos(angles)])
    return np.asarray(state @ shapes)
