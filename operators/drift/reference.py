"""What scores were worth of late: the events whose labels are in, older ones fading."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.drift.shares import FIT, Curve, Estimate
from operators.drift.spans import FRAUDS, GENUINE, PLACES, Floats, Int64s

_KEEPS = 30.0
"""How many spans the usual misfit is the mean of."""
_SETTLED = 40.0
"""How many times the least number of frauds a curve is of before charts are told what it says."""
_MOST, _VAGUE = 2.0, 0.7
"""What misfit counts as usual at most; from what standard error of log-odds on nothing is said."""


class Reference:
    """Labelled events by place, a row each; their weight halves in so many spans.

    A figure that is said by a curve moves a little with each span that the curve is fitted to, and
    stays there: over weeks that adds up to what a chart would take for a change of events. So
    charts are told how far it is from what the same curve says of the reference.

    Memory: 4 kB a row, and as much again for its curve. A row with fewer than `least` frauds, or
    no genuine event, has no curve, and nothing is estimated of it.
    """

    def __init__(self, rows: int, half_life: float, least: float) -> None:
        self.cells = np.zeros((rows, 2, PLACES))
        self.usual = np.ones((rows, 2))
        """The mean misfit of spans that are told by their scores, and of how many."""
        self.begun = np.zeros(1, np.int64)
        """Whether these are spans of settled scores."""
        self._fade, self._least = 0.5 ** (1.0 / half_life), least
        self._curves: list[Curve | None] | None = None

    def add(self, counts: Int64s, *, settled: bool) -> None:
        """Take a span whose labels are in, (rows, spans.WIDTH).

        The first whose scores had settled is the first: those before are forgotten.
        """
        if settled and not self.begun[0]:
            self.begun[0] = 1
            self.cells[...], self.usual[...] = 0.0, 1.0
        self.cells *= self._fade
        self.cells[:, 0] += counts[:, GENUINE]
        self.cells[:, 1] += counts[:, FRAUDS]
        self._curves = None

    @property
    def events(self) -> Floats:
        """(rows, PLACES) of them all."""
        return np.asarray(self.cells.sum(axis=1))

    @property
    def curves(self) -> list[Curve | None]:
        """The curve of each row: that of all events, and for each slice value what it has more."""
        if self._curves is None:
            whole = Curve.of(*self.cells[0]) if self._enough(0) else None
            self._curves = [whole] * len(self.cells)
            for row in range(1, len(self.cells)) if whole else ():
                own = whole.of_slice(*self.cells[row]) if whole and self._enough(row) else None
                self._curves[row] = own
        return self._curves

    def _enough(self, row: int) -> bool:
        genuine, frauds = self.cells[row].sum(axis=1)
        return bool(genuine > 0 and frauds >= self._least)

    def estimate(self, row: int, events: Floats) -> Estimate | None:
        """Of events by place; None without a curve that tells frauds, or of too few of them."""
        curve = self.curves[row]
        if curve is None or curve.chance @ events < self._least:
            return None
        return curve.estimate(events)

    def settled(self, row: int) -> bool:
        """Whether scores have, and the curve is of enough frauds to move little by a span."""
        return bool(self.begun[0] and self.cells[row, 1].sum() >= _SETTLED * self._least)

    def spread(self, row: int) -> float:
        """How many times wider than by chance alone figures of a span are."""
        return math.sqrt(self._usual(row))

    def _usual(self, row: int) -> float:
        return min(max(float(self.usual[row, 0]), 1.0), _MOST)

    def fits(self, row: int, estimate: Estimate) -> bool:
        """Whether a mixture explains a span's scores about as well as usual, and says something."""
        mean, count = self.usual[row].tolist()
        limit = FIT * self._usual(row)
        count = min(count + 1.0, _KEEPS)
        self.usual[row] = mean + (min(estimate.misfit, limit) - mean) / count, count
        return bool(estimate.misfit <= limit and estimate.deviation < _VAGUE)

    def refit(self) -> None:
        """Make curves anew, of what was put back."""
        self._curves = None

    def parts(self) -> dict[str, npt.NDArray[Any]]:
        """All that changes, by name."""
        return {"labelled": self.cells, "usual": self.usual, "begun": self.begun}
