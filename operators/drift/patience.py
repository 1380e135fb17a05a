"""Monitors for which some time is soon enough: several buckets are told them as one."""

from __future__ import annotations

from collections.abc import Sequence

from operators.drift.bucket import Bucket, Matured, Monitor
from operators.drift.sketch import Sketch

NEVER = -(2**62)
UNTOLD = Sketch.empty(0)
"""The inputs of what they are told."""


class Patient:
    """Monitors told buckets that end with every so many cells of the grid, or later."""

    def __init__(self, monitors: Sequence[Monitor], cells: int, rows: int) -> None:
        self.monitors, self._cells = monitors, cells
        self.since = NEVER
        """The first cell that they were not told."""
        self.scores = Sketch.empty(rows)
        """Of the buckets since; cleared."""
        self.scores.clear()

    def add(self, first: int, end: int, scores: Sketch) -> bool:
        """Add a bucket of the cells from `first` to `end`; whether they are to be told now."""
        self.since = first if self.since == NEVER else self.since
        self.scores.merge(scores)
        return end // self._cells > self.since // self._cells

    def bucket(self, end: int, cell_us: int, told: tuple[Matured, Matured], version: int) -> Bucket:
        """All since, up to the cell `end`; `told` are the examples, and those that were late."""
        span = self.since * cell_us, end * cell_us
        return Bucket(*span, UNTOLD, self.scores, told[0], version, told[1])

    def told(self) -> None:
        """Begin anew with the next bucket."""
        self.since = NEVER
        self.scores.clear()
