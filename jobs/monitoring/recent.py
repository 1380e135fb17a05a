"""The features of events of late, a sample counted in the bins of a sketch: for a look, not a test.

Detectors of drift see every event (`operators.drift`); this is what a dashboard shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from operators.drift.sketch import MIDDLES, Floats, Int64s, Sketch

AT_ONCE = 16
"""Events of a batch that are counted at most."""
SHARES = (0.1, 0.5, 0.9)


class Recent:
    """Values of features, of the last `most` to twice as many events of the sample.

    Of each batch up to `AT_ONCE` events are counted, evenly spread, so that the cost of a batch is
    bounded. One thread adds; another may read at any time.

    >>> recent = Recent(("amount",))
    >>> recent.add(np.array([[20.0], [30.0], [np.nan], [50.0]]))
    >>> recent.events, recent.missing(), [round(q) for q in recent.quantiles()[0]]
    (4, [0.25], [21, 32, 51])
    """

    def __init__(self, names: Sequence[str], most: int = 10_000) -> None:
        self.names = tuple(names)
        self._most = most
        self._halves = self._empty(), self._empty()
        """The older and the newer, swapped as a pair."""
        self._counted = 0

    def _empty(self) -> Sketch:
        return Sketch.empty(len(self.names))

    def add(self, features: Floats) -> None:
        """Take a batch's features, (n, features)."""
        step = -(-len(features) // AT_ONCE)
        if not step:
            return
        sample = np.ascontiguousarray(features[::step])
        self._halves[1].add(sample)
        self._counted += len(sample)
        if self._counted >= self._most:
            self._halves, self._counted = (self._halves[1], self._empty()), 0

    @property
    def events(self) -> int:
        """How many events are counted."""
        counts, missing = self._sums()
        return int(counts[0].sum() + missing[0]) if len(missing) else 0

    def missing(self) -> list[float]:
        """The share of each feature's values that are missing; nan of no events."""
        counts, missing = self._sums()
        with np.errstate(invalid="ignore"):
            return list((missing / (counts.sum(axis=1) + missing)).tolist())

    def quantiles(self, shares: Sequence[float] = SHARES) -> list[list[float]]:
        """Each feature's quantiles, within 6 %; nan of one always missing."""
        counts, _ = self._sums()
        reached = np.cumsum(counts, axis=1)
        found = []
        for row in reached:
            ranks = [max(share * row[-1], 1) for share in shares]
            places = np.searchsorted(row, ranks)
            found.append(MIDDLES[places].tolist() if row[-1] else [np.nan] * len(shares))
        return found

    def _sums(self) -> tuple[Int64s, Int64s]:
        older, newer = self._halves
        return older.counts + newer.counts, older.missing + newer.missing
