"""Scored events and their labels, as buckets: what monitors are told, without a pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from operators.drift.bucket import ITSELF, Bucket, Matured, Scope, scaled_odds
from operators.drift.sketch import Sketch
from operators.labels import BY_LABEL, BY_LATE_LABEL, BY_MATURITY

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
NEVER = 2**62


def scope(maturity_us: int, budget: float, slices: Mapping[str, tuple[str, ...]]) -> Scope:
    """Of a pipeline without features."""
    return Scope(
        names=(), slices=slices, maturity_us=maturity_us, budget=budget, settle_us=(), bucket="1h"
    )


@dataclass(frozen=True, slots=True)
class Labelled:
    """n scored events in order of time, and when the label of each becomes known."""

    time_us: Int64s
    score: Floats
    y: npt.NDArray[np.int8]
    """As it is known in the end: 0 where the label of a fraud would come after the maturity."""
    known_us: Int64s
    codes: Int64s
    """(n, slices)."""
    late_us: Int64s = field(default_factory=lambda: ITSELF)
    """When labels come of frauds that have matured as genuine, or `NEVER`; empty of none."""

    @classmethod
    def of(
        cls,
        time_us: Int64s,
        score: Floats,
        fraud: npt.NDArray[np.bool_],
        delay_us: Floats,
        maturity_us: int,
        codes: Int64s | None = None,
        *,
        late: bool = False,
    ) -> Labelled:
        """Frauds are told after their delays, the rest are negatives by maturity.

        What comes after that is told too where `late` says so.
        """
        told = fraud & (delay_us < maturity_us)
        known_us = time_us + np.where(told, delay_us, maturity_us).astype(np.int64)
        held = np.zeros((len(time_us), 0), np.int64) if codes is None else codes
        late_us = np.where(fraud & ~told & late, time_us + delay_us, NEVER).astype(np.int64)
        return cls(time_us, score, told.astype(np.int8), known_us, held, late_us)

    def buckets(self, length_us: int, sizes: tuple[int, ...] = ()) -> Iterator[Bucket]:
        """All that is known before the last event's bucket ends, cut at a grid.

        `sizes` are the numbers of values of the slices.
        """
        first, last = (int(each) // length_us for each in self.time_us[[0, -1]])
        matured = np.lexsort((np.arange(len(self.y)), self.known_us))
        grid = np.arange(first, last + 2) * length_us
        events = np.searchsorted(self.time_us, grid)
        labels = np.searchsorted(self.known_us[matured], grid)
        for at, start in enumerate(grid[:-1].tolist()):
            told = matured[labels[at] : labels[at + 1]]
            late = np.flatnonzero((self.late_us >= start) & (self.late_us < start + length_us))
            yield Bucket(
                start_us=start,
                end_us=start + length_us,
                features=Sketch.empty(0),
                scores=self._scores(slice(events[at], events[at + 1]), sizes),
                matured=Matured(
                    self.known_us[told], self.time_us[told], told, self.score[told],
                    self.y[told], np.where(self.y[told], BY_LABEL, BY_MATURITY).astype(np.uint8),
                    self.codes[told],
                ),
                version=1,
                late=Matured(
                    self.late_us[late], self.time_us[late], late, self.score[late],
                    np.ones(len(late), np.int8), np.full(len(late), BY_LATE_LABEL, np.uint8),
                    self.codes[late],
                ),
            )  # fmt: skip

    def _scores(self, rows: slice, sizes: tuple[int, ...]) -> Sketch:
        odds, first = scaled_odds(self.score[rows]), 1
        held = np.full((len(odds), 1 + sum(sizes)), np.nan)
        held[:, 0] = odds
        for column, size in enumerate(sizes):
            code = self.codes[rows, column]
            held[np.arange(len(odds)), first + code] = odds
            first += size
        sketch = Sketch.empty(held.shape[1])
        sketch.add(held)
        return sketch
