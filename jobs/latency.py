"""Latencies counted in buckets: percentiles of any number of events in constant memory."""

from __future__ import annotations

import math

import numpy as np

PER_OCTAVE = 64
OCTAVES = 40
"""From 1 ns to 18 minutes; what is longer is in the last bucket."""


class Latencies:
    """A histogram of seconds, in buckets about 1.1 % wide; the largest is kept as it is.

    >>> seen = Latencies()
    >>> seen.add(0.001, events=98)
    >>> seen.add(0.5, events=2)
    >>> round(seen.percentile(50), 4), round(seen.percentile(99), 2), seen.largest
    (0.001, 0.5, 0.5)
    """

    def __init__(self) -> None:
        self._counts = np.zeros(PER_OCTAVE * OCTAVES, np.int64)
        self.largest = math.nan

    def add(self, seconds: float, events: int) -> None:
        """Count so many events that each took so long."""
        place = int(PER_OCTAVE * math.log2(max(seconds * 1e9, 1.0)))
        self._counts[min(place, len(self._counts) - 1)] += events
        self.largest = seconds if math.isnan(self.largest) else max(self.largest, seconds)

    @property
    def events(self) -> int:
        """How many were counted."""
        return int(self._counts.sum())

    def percentile(self, percent: float) -> float:
        """Seconds that so many per cent of the events stayed within; nan of no events."""
        if not self.events:
            return math.nan
        reached = np.cumsum(self._counts) >= self.events * percent / 100
        edge: float = 2.0 ** ((int(reached.argmax()) + 1) / PER_OCTAVE) / 1e9
        return min(edge, self.largest)

    def microseconds(self) -> dict[str, float]:
        """The percentiles that are reported, in microseconds."""
        named = {"p50": 50.0, "p99": 99.0, "p99.9": 99.9}
        found = {name: self.percentile(percent) for name, percent in named.items()}
        return {name: value * 1e6 for name, value in (found | {"max": self.largest}).items()}
