"""Counts of values in fixed bins: the same for every stream, so that they may be added up.

A bin is an eighth of an octave of either sign between 2**LOW and 2**HIGH; what is smaller counts
as zero, what is larger as the largest. Cutting a float's bits is all it takes to find its bin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.jit import kernel

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

PER_OCTAVE = 8
LOW, HIGH = -8, 24
HALF = (HIGH - LOW) * PER_OCTAVE
BINS = 2 * HALF + 1
"""Bins of a row: the negative ones by size, falling; zero; the positive ones, rising."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """Counts of `rows` variables."""

    counts: Int64s
    """(rows, BINS)."""
    missing: Int64s
    """(rows,) how often the value was NaN."""

    @classmethod
    def empty(cls, rows: int) -> Sketch:
        """One of nothing."""
        return cls(np.zeros((rows, BINS), np.int64), np.zeros(rows, np.int64))

    def add(self, x: Floats) -> None:
        """Count n events, (n, rows) C-contiguous."""
        _add(x, self.counts, self.missing)

    def merge(self, other: Sketch) -> None:
        """Count what the other has counted."""
        self.counts[...] += other.counts
        self.missing[...] += other.missing


@kernel("void(float64[:, ::1], int64[:, ::1], int64[::1])")
def _add(x: Floats, counts: Int64s, missing: Int64s) -> None:
    for i in range(x.shape[0]):
        for row in range(x.shape[1]):
            value = x[i, row]
            if np.isnan(value):
                missing[row] += 1
                continue
            octaves = np.log2(max(abs(value), 2.0**LOW)) - LOW
            at = min(np.int64(octaves * PER_OCTAVE) + (abs(value) > 2.0**LOW), HALF)
            counts[row, HALF + (at if value > 0 else -at)] += 1
