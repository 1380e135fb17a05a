"""Counts in fixed buckets: what a scraper makes percentiles of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MANTISSAS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.5)
LATENCY_EDGES = (
    *(round(mantissa * 10.0**decade, 5) for decade in range(-4, 2) for mantissa in MANTISSAS),
    100.0,
)
"""Seconds, from 0.1 ms to 100 s, neighbours at most 1.7 times apart."""
DELAY_EDGES = tuple(
    unit * n
    for unit, counts in ((60, (1, 5, 15)), (3600, (1, 3, 6, 12)), (86_400, (1, 2, 3, 5, 7, 10)))
    for n in counts
) + tuple(86_400 * days for days in (14, 21, 30, 45, 60, 90))
"""Seconds, from a minute to 90 days."""
SCORE_EDGES = (
    *(round(mantissa * 10.0**decade, 6) for decade in range(-5, -1) for mantissa in (1, 2, 5)),
    *(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0),
)
"""Probabilities."""


class Histogram:
    """How many values lay in which bucket: (edge before, edge].

    One thread adds; another may read at any time and sees at worst a batch half added.

    >>> seen = Histogram((0.001, 0.01))
    >>> seen.add_since([1_000_000, 1_004_000, 900_000], now_us=1_005_000)
    >>> seen.cumulative(), round(seen.sum, 3)
    ([(0.001, 1), (0.01, 2), (inf, 3)], 0.111)
    """

    def __init__(self, edges: Sequence[float] = LATENCY_EDGES) -> None:
        self._edges = np.array([*edges, np.inf])
        self._edges_us = np.round(self._edges[:-1] * 1e6)
        self._counts = np.zeros(len(self._edges), np.int64)
        self.sum = 0.0
        """The sum of all that was added."""

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Add values in the unit of the edges."""
        places = self._edges.searchsorted(values)
        self._counts += np.bincount(places, minlength=len(self._counts))
        self.sum += float(values.sum())

    def add_since(self, stamps_us: Sequence[int] | npt.NDArray[np.int64], now_us: int) -> None:
        """Add, for each of these moments, the time from it to now; from a later one, 0."""
        waited = np.maximum(now_us - np.asarray(stamps_us, np.int64), 0)
        places = self._edges_us.searchsorted(waited)
        self._counts += np.bincount(places, minlength=len(self._counts))
        self.sum += float(waited.sum()) / 1e6

    def cumulative(self) -> list[tuple[float, int]]:
        """Each bucket's upper edge and how many lay at or below it, the last edge infinite."""
        reached = np.cumsum(self._counts).tolist()
        return list(zip(self._edges.tolist(), reached, strict=True))
