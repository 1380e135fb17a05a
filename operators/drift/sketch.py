"""Counts of values in fixed bins: the same for every stream, so that they may be added up.

A bin is an eighth of an octave, even within it, of either sign between 2**LOW and 2**HIGH: 6 to
12 % wide, so that whole numbers up to 16 have bins of their own. What is smaller counts as zero,
what is larger, infinity too, with the largest. Cutting a float's bits is all it takes to find its
bin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.jit import kernel

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

_BITS = 3
PER_OCTAVE = 1 << _BITS
LOW, HIGH = -8, 24
HALF = (HIGH - LOW) * PER_OCTAVE
BINS = 2 * HALF + 1
"""Bins of a row: the negative ones by size, falling; zero; the positive ones, rising."""
LEAST = np.ldexp(1 + np.arange(HALF) % PER_OCTAVE / PER_OCTAVE, LOW + np.arange(HALF) // PER_OCTAVE)
"""(HALF,) the least of each positive bin; a negative one mirrors it, zero lies between."""
MIDDLES = np.concatenate([-LEAST[::-1], [0.0], LEAST]) * (1 + 1 / (2 * PER_OCTAVE))
"""(BINS,) a value of each bin, within 6 % of any other in it."""
BLOCK_BITS = 4
BLOCK = 1 << BLOCK_BITS
"""Bins in a row of which it is known together whether they may have counts."""
BLOCKS = -(-BINS // BLOCK)
EVERYWHERE = -1
_SHIFT = 52 - _BITS
_BELOW = ((1023 + LOW) << _BITS) - 1
_MAGNITUDE = (1 << 63) - 1
_INFINITY = 0x7FF << 52


@dataclass(frozen=True, slots=True)
class Sketch:
    """Counts of `rows` variables, 4 KiB each: the same whatever order the values came in.

    >>> sketch = Sketch.empty(rows=1)
    >>> sketch.add(np.array([[3.0], [3.0], [-0.0], [float("nan")]]))
    >>> sketch.counts[0, bin_of(3.0)], sketch.counts[0, HALF], sketch.missing[0]
    (np.int64(2), np.int64(1), np.int64(1))
    """

    counts: Int64s
    """(rows, BINS)."""
    missing: Int64s
    """(rows,) how often the value was NaN."""
    blocks: Int64s
    """(rows,) a bit for each block of bins that may have counts: the others need no look."""

    @classmethod
    def empty(cls, rows: int) -> Sketch:
        """One of nothing, whose arrays may be written to by anybody."""
        blocks = np.full(rows, EVERYWHERE, np.int64)
        return cls(np.zeros((rows, BINS), np.int64), np.zeros(rows, np.int64), blocks)

    def clear(self) -> None:
        """Have counted nothing; from here on only by `add` and `merge`."""
        _clear(self.counts, self.missing, self.blocks)

    def add(self, x: Floats) -> None:
        """Count n events, (n, rows) C-contiguous; ValueError where that is not so."""
        if x.ndim != 2 or x.shape[1] != len(self.missing):
            raise ValueError(f"sketch: wanted (n, {len(self.missing)}) values, got {x.shape}")
        count(0, len(x), x.view(np.int64), self.counts, self.missing, self.blocks)

    def merge(self, other: Sketch) -> None:
        """Count what the other has counted."""
        _merge(self.counts, self.missing, self.blocks, other.counts, other.missing, other.blocks)

    def events(self) -> int:
        """How many events were counted."""
        return int(_events(self.counts, self.missing, self.blocks))


def bin_of(value: float) -> int:
    """The bin of a number."""
    sketch = Sketch.empty(1)
    sketch.add(np.array([[value]]))
    return int(sketch.counts[0].argmax())


def quantile(counts: Int64s, share: float) -> float:
    """A value below which this share of a row's counts lie, within a bin; NaN of none."""
    cumulated = counts.cumsum()
    if not cumulated[-1]:
        return float("nan")
    return float(MIDDLES[np.searchsorted(cumulated, share * cumulated[-1])])


@kernel("int64(int64)")
def bin_at(word: int) -> int:
    """The bin of a float, by its bits: sign, exponent and the first of the fraction; -1 of NaN."""
    magnitude = word & _MAGNITUDE
    if magnitude > _INFINITY:
        return -1
    at = min(max((magnitude >> _SHIFT) - _BELOW, 0), HALF)
    sign = word >> 63
    return HALF + ((at ^ sign) - sign)


@kernel("void(int64, int64, int64[:, ::1], int64[:, ::1], int64[::1], int64[::1])")
def count(start, stop, bits, counts, missing, blocks):  # type: ignore[no-untyped-def]
    """Count events from `start` to `stop`, a value a row, by the bits of floats."""
    for i in range(start, stop):
        for row in range(bits.shape[1]):
            at = bin_at(bits[i, row])
            if at < 0:
                missing[row] += 1
            else:
                counts[row, at] += 1
                blocks[row] |= 1 << (at >> BLOCK_BITS)


@kernel("void(int64[:, ::1], int64[::1], int64[::1])")
def _clear(counts, missing, blocks):  # type: ignore[no-untyped-def]
    for row in range(len(blocks)):
        for block in range(BLOCKS):
            if blocks[row] >> block & 1:
                counts[row, block * BLOCK : (block + 1) * BLOCK] = 0
        missing[row] = blocks[row] = 0


@kernel("void(int64[:, ::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int64[::1])")
def _merge(  # type: ignore[no-untyped-def]
    counts, missing, blocks, more_counts, more_missing, more_blocks
):
    for row in range(len(blocks)):
        for block in range(BLOCKS):
            if more_blocks[row] >> block & 1:
                for at in range(block * BLOCK, min((block + 1) * BLOCK, BINS)):
                    counts[row, at] += more_counts[row, at]
        missing[row] += more_missing[row]
        blocks[row] |= more_blocks[row]


@kernel("int64(int64[:, ::1], int64[::1], int64[::1])")
def _events(counts, missing, blocks):  # type: ignore[no-untyped-def]
    """By the first row; every event is in each."""
    total = missing[0]
    for block in range(BLOCKS):
        if blocks[0] >> block & 1:
            for at in range(block * BLOCK, min((block + 1) * BLOCK, BINS)):
                total += counts[0, at]
    return total
