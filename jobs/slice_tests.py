"""Whether the events of a slice are worse than all others, for many slices at a time.

One-sided, by Welch's t. Its variance is the larger of two: of single events, and of blocks of
neighbouring ones, which may share a cause (Künsch, *The Jackknife and the Bootstrap for General
Stationary Observations*, 1989). Losses of rare positives are skewed to the right, which
makes the test say less often than it may that a mean is too large, not more often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.base import Floats

Int64s = npt.NDArray[np.int64]
Spans = tuple[tuple[int, int, int], ...]
BLOCKS = 100
ENOUGH = 10.0
"""Positives that a slice and its rest lead one to expect: with fewer, no test means anything."""
_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Cells:
    """Sums over the events of each of c slices."""

    n: Floats
    """(c, blocks) events."""
    total: Floats
    """(c, blocks) of what is tested."""
    squares: Floats
    """(c,) of its squares."""
    score: Floats
    """(c,) of the scores."""

    def runs(self, first: Int64s, last: Int64s) -> Cells:
        """Of slices that are several of these in a row, both ends within."""
        return Cells(*(_runs(each, first, last) for each in self.parts))

    @property
    def parts(self) -> tuple[Floats, ...]:
        """The four arrays."""
        return self.n, self.total, self.squares, self.score


@dataclass(frozen=True, slots=True)
class Compared:
    """The slices of which enough is known to test them."""

    spans: Sequence[Spans]
    z: Floats
    """How clearly each is worse, as a standard normal number."""
    p: Floats
    effect: Floats
    """Difference to the rest in standard deviations; none where the mean itself is not above 0."""

    @property
    def most(self) -> float:
        """Of the clearest."""
        return float(self.z.max(initial=-math.inf))

    def clearest(self, level: float, effect: float) -> tuple[float, Spans, float, float] | None:
        """The clearest of those whose p is at most `level` and that are worse by `effect`."""
        good = np.flatnonzero((self.p <= level) & (self.effect >= effect))
        if not len(good):
            return None
        at = int(good[self.z[good].argmax()])
        return float(self.z[at]), self.spans[at], float(self.effect[at]), float(self.p[at])


class Moments:
    """Sums over n events in order of time; `share` of them are positive."""

    def __init__(self, worse: Floats, score: Floats, share: float) -> None:
        self._worse, self._score, self._share = worse, score, share
        self._squares = worse * worse
        self._block = np.arange(len(worse)) * BLOCKS // max(len(worse), 1)
        self._all = self.cells(np.zeros(len(worse), np.int64), 1)

    def cells(self, at: Int64s, count: int) -> Cells:
        """Of slices numbered below `count`, by the number of each event's."""
        spots, shape = at * BLOCKS + self._block, (count, BLOCKS)
        bins = count * BLOCKS
        sums = (
            np.bincount(spots, minlength=bins).reshape(shape),
            np.bincount(spots, self._worse, bins).reshape(shape),
            np.bincount(at, self._squares, count),
            np.bincount(at, self._score, count),
        )
        return Cells(*(each.astype(np.float64) for each in sums))

    def compared(self, cells: Cells, spans: Sequence[Spans]) -> Compared:
        """Test each slice against all other events."""
        likely = self._enough(cells)
        mine = Cells(*(each[likely] for each in cells.parts))
        others = Cells(
            *(whole - each for whole, each in zip(self._all.parts, mine.parts, strict=True))
        )
        (mean, spread, shaken), (mean_rest, spread_rest, shaken_rest) = map(_mean, (mine, others))
        n, rest = mine.n.sum(axis=1), others.n.sum(axis=1)
        variance = np.maximum(spread / n + spread_rest / rest, shaken + shaken_rest)
        t = (mean - mean_rest) / np.sqrt(variance + _TINY)
        z = _normal(t, np.count_nonzero(mine.n, axis=1) - 1)
        effect = math.sqrt(2) * (mean - mean_rest) / np.sqrt(spread + spread_rest + _TINY)
        effect = np.where(mean > 0, effect, -math.inf)
        p = np.array([math.erfc(each / math.sqrt(2)) / 2 for each in z.tolist()])
        return Compared([spans[at] for at in likely.tolist()], z, p, effect)

    def _enough(self, cells: Cells) -> Int64s:
        """Which slices, and their rest, lead one to expect enough: labels have no say in it."""
        n = cells.n.sum(axis=1)
        rest = self._all.n.sum() - n
        positives = np.maximum(n * self._share, cells.score)
        blocks = np.count_nonzero(cells.n, axis=1)
        return np.flatnonzero(
            (positives >= ENOUGH) & (rest * self._share >= ENOUGH) & (blocks > BLOCKS // 10)
        )


def _runs(sums: Floats, first: Int64s, last: Int64s) -> Floats:
    reached = np.concatenate([np.zeros((1, *sums.shape[1:])), np.cumsum(sums, axis=0)])
    return np.asarray(reached[last + 1] - reached[first])


def _mean(cells: Cells) -> tuple[Floats, Floats, Floats]:
    """Mean, variance of an event, and variance of the mean by blocks."""
    n = cells.n.sum(axis=1)
    mean = cells.total.sum(axis=1) / n
    spread = np.maximum(cells.squares / n - mean * mean, 0.0)
    off = cells.total - cells.n * mean[:, None]
    shaken = np.square(off).sum(axis=1) / (n * n) * BLOCKS / (BLOCKS - 1)
    return mean, spread, shaken


def _normal(t: Floats, freedom: Int64s) -> Floats:
    """The standard normal number as likely as Student's t (Wallace, 1959)."""
    size = np.sqrt(freedom * np.log1p(t * t / freedom)) * (1 - 3 / (8 * freedom))
    return np.asarray(np.copysign(size, t))
