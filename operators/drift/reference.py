"""What scores were worth of late: the events whose labels are in, older ones fading."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from operators.drift.shares import FIT, Curve, Estimate
from operators.drift.spans import FRAUDS, GENUINE, PLACES, Floats, Int64s

_KEEPS = 30.0
"""How many spans the usual misfit is the mean of."""


class Reference:
    """Labelled events by place, a row each; their weight halves in so many spans.

    Memory: 4 kB a row, and as much again for its curve. A row with fewer than `least` frauds, or
    no genuine event, has no curve, and nothing is estimated of it.
    """

    def __init__(self, rows: int, half_life: float, least: float) -> None:
        self.cells = np.zeros((rows, 2, PLACES))
        self.usual = np.ones((rows, 2))
        """The mean misfit of spans that are told by their scores, and of how many."""
        self._fade, self._least = 0.5 ** (1.0 / half_life), least
        self._curves: list[Curve | None] | None = None

    def add(self, counts: Int64s) -> None:
        """Take a span whose labels are in, (rows, spans.WIDTH)."""
        self.cells *= self._fade
        self.cells[:, 0] += counts[:, GENUINE]
        self.cells[:, 1] += counts[:, FRAUDS]
        self._curves = None

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
        """Of events by place; None without a curve, or where too few frauds are to be expected."""
        curve = self.curves[row]
        if curve is None or curve.chance @ events < self._least:
            return None
        return curve.estimate(events)

    def spread(self, row: int) -> float:
        """How many times wider than by chance alone figures of a span are."""
        return max(float(self.usual[row, 0]), 1.0) ** 0.5

    def fits(self, row: int, estimate: Estimate) -> bool:
        """Whether a mixture explains a span's scores as well as usual; then that is told too."""
        mean, count = self.usual[row]
        limit = FIT * max(mean, 1.0)
        count = min(count + 1.0, _KEEPS)
        self.usual[row] = mean + (min(estimate.misfit, limit) - mean) / count, count
        return estimate.misfit <= limit

    def parts(self) -> dict[str, npt.NDArray[Any]]:
        """All that changes, by name."""
        self._curves = None
        return {"labelled": self.cells, "usual": self.usual}
