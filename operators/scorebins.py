"""Scores counted in fine bins of log-odds: what remains of examples that are too many to keep.

Counts and sums are integers, so bins of parts of a stream merge to those of the whole, in any
order and bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.metrics import SMALLEST, Floats, Groups, Ints, Labels, calibration_error_of
from streams.jit import kernel

BINS = 4096
REACH = 16.0
"""Bins are 1/128 wide, or nearly, in log-odds from -REACH to REACH; the end bins hold the rest."""

LOG_ODDS = np.linspace(-REACH, REACH, BINS - 1)
PER_LOG_ODD = (BINS - 2) / (2.0 * REACH)
EDGES = 1.0 / (1.0 + np.exp(-LOG_ODDS))
MIDDLES = 1.0 / (1.0 + np.exp(-(np.arange(BINS) - (BINS - 1) / 2) * (LOG_ODDS[1] - LOG_ODDS[0])))
"""The probability that stands for a bin: within 0.4 % of the odds of every score in it."""
_HIGHEST_FIRST = MIDDLES[::-1].copy()

UNIT = 2.0**32
"""Losses are summed as integers of 1 / UNIT, each rounded once."""


@dataclass(frozen=True, slots=True)
class CalibrationCurve:
    """Mean score and share of frauds of the examples in each bin of equal width in log-odds."""

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    examples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ScoreHistogram:
    """Examples by log-odds of the score; `edges` has one entry more than the counts."""

    edges: tuple[float, ...]
    genuine: tuple[int, ...]
    frauds: tuple[int, ...]


class ScoreBins:
    """Counts per group, scorer, label and bin, and sums of log loss and squared error.

    64 KiB per group and scorer. AUC and average precision of these counts are those of the scores
    rounded to bins; the AUC is off by at most half the share of pairs that fall into one bin.

    >>> bins = ScoreBins(groups=1, scorers=1)
    >>> bins.add(np.zeros((2, 1), np.int64), np.array([[0.2], [0.9]]), np.array([0, 1], np.int8))
    >>> bins.count(0), bins.mean_losses(0, 0).round(4).tolist()
    ((2, 1), [0.1643, 0.025])
    """

    def __init__(self, groups: int, scorers: int) -> None:
        self.counts = np.zeros((groups, scorers, 2, BINS), np.int64)
        self.sums = np.zeros((groups, scorers, 2, 2), np.int64)
        """(groups, scorers, log loss and squared error, whole and fraction)."""

    @classmethod
    def of(cls, counts: Ints, sums: Ints) -> ScoreBins:
        """Bins with copies of these counts and sums."""
        bins = cls(counts.shape[0], counts.shape[1])
        bins.counts += counts
        bins.sums += sums
        return bins

    def add(self, groups: NDArray[np.integer[Any]], scores: Floats, label: Labels) -> None:
        """Count n examples: `groups` (n, m) each one's groups, -1 for none; `scores` (n, S).

        ValueError when the arrays do not fit each other; IndexError of a group not there.
        """
        if len(groups) != len(label) or scores.shape != (len(label), self.counts.shape[1]):
            raise ValueError(
                f"score bins: wanted scores of shape {(len(label), self.counts.shape[1])} and as "
                f"many rows of groups, got {scores.shape} and {len(groups)} rows"
            )
        if groups.max(initial=-1) >= len(self.counts):
            raise IndexError(
                f"score bins: wanted groups below {len(self.counts)}, got {groups.max()}"
            )
        _count(
            np.ascontiguousarray(groups, np.int32),
            np.ascontiguousarray(scores, np.float64),
            np.ascontiguousarray(label, np.int8),
            EDGES,
            self.counts,
            self.sums,
        )
        self._carry()

    def add_ranked(
        self, group: int, scorer: int, ranked: tuple[Floats, Groups], losses: Floats, errors: Floats
    ) -> None:
        """Count one scorer's examples of a group as `add` does.

        `ranked` is what `metrics.ranked` says of them; `losses` and `errors` are the log loss and
        the squared error of each.
        """
        distinct, groups = ranked
        _count_ranked(distinct, *groups, EDGES, self.counts[group, scorer])
        self.sums[group, scorer, :, 1] += _in_units(losses), _in_units(errors)
        self._carry()

    def merge(self, other: ScoreBins) -> None:
        """Count the other's examples too; both have the same shape."""
        self.counts += other.counts
        self.sums += other.sums
        self._carry()

    def _carry(self) -> None:
        self.sums[..., 0] += self.sums[..., 1] >> 32
        self.sums[..., 1] &= 2**32 - 1

    def count(self, group: int) -> tuple[int, int]:
        """Examples and frauds of a group."""
        genuine, frauds = self.counts[group, 0].sum(axis=1).tolist()
        return genuine + frauds, frauds

    def ranked(self, group: int, scorer: int) -> Groups:
        """Frauds and genuine examples per bin, highest first."""
        genuine, frauds = np.ascontiguousarray(self.counts[group, scorer, :, ::-1])
        return Groups(frauds, genuine)

    def mean_losses(self, group: int, scorer: int) -> Floats:
        """Log loss and Brier score; nan of no examples."""
        n, _ = self.count(group)
        whole, fraction = self.sums[group, scorer].T
        return np.asarray((whole + fraction / UNIT) / n if n else np.full(2, np.nan), np.float64)

    def calibration_error(self, group: int, scorer: int, bins: int = 10) -> float:
        """As `metrics.calibration_error`, of scores rounded to bins."""
        return calibration_error_of(_HIGHEST_FIRST, self.ranked(group, scorer), bins)

    def calibration_curve(self, group: int, scorer: int, bins: int = 64) -> CalibrationCurve:
        """The curve over `bins` bins, a divisor of 4,096; those without examples are left out."""
        genuine, frauds = self.counts[group, scorer]
        examples = genuine + frauds
        columns = np.stack([examples, examples * MIDDLES, frauds])
        count, mass, hits = columns.reshape(3, bins, -1).sum(axis=2)
        held = count > 0
        return CalibrationCurve(
            predicted=tuple((mass[held] / count[held]).tolist()),
            observed=tuple((hits[held] / count[held]).tolist()),
            examples=tuple(count[held].astype(int).tolist()),
        )

    def histogram(self, group: int, scorer: int, bins: int = 64) -> ScoreHistogram:
        """Counts by label over `bins` bins, a divisor of 4,096; beyond REACH is in the end bins."""
        width = BINS // bins
        genuine, frauds = self.counts[group, scorer].reshape(2, bins, width).sum(axis=2).tolist()
        edges = [-REACH, *LOG_ODDS[width - 1 :: width][: bins - 1].tolist(), REACH]
        return ScoreHistogram(tuple(edges), tuple(genuine), tuple(frauds))


@kernel(
    "void(Array(int32, 2, 'C', readonly=True), Array(float64, 2, 'C', readonly=True),"
    " Array(int8, 1, 'C', readonly=True), float64[::1], int64[:, :, :, ::1], int64[:, :, :, ::1])"
)
def _count(  # type: ignore[no-untyped-def]
    groups, scores, label, edges, counts, sums
):
    """Add each score to the bin and the sums of its example's groups; sums are not carried.

    The log-odds guess a score's bin, the edges decide: its number is that of the edges up to it.
    """
    for row in range(len(label)):
        fraud = 1 if label[row] == 1 else 0
        for scorer in range(scores.shape[1]):
            score = scores[row, scorer]
            clipped = min(1.0 - SMALLEST, max(SMALLEST, score))
            bad, good = np.log(clipped), np.log(1.0 - clipped)
            place = int(min(BINS - 2.0, max(-1.0, (bad - good + REACH) * PER_LOG_ODD))) + 1
            while place < BINS - 1 and edges[place] <= score:
                place += 1
            while place > 0 and edges[place - 1] > score:
                place -= 1
            loss = int(np.rint(-(bad if fraud else good) * UNIT))
            error = int(np.rint((score - fraud) * (score - fraud) * UNIT))
            for column in range(groups.shape[1]):
                group = groups[row, column]
                if group >= 0:
                    counts[group, scorer, fraud, place] += 1
                    sums[group, scorer, 0, 1] += loss
                    sums[group, scorer, 1, 1] += error


@kernel("void(float64[::1], int64[::1], int64[::1], float64[::1], int64[:, ::1])")
def _count_ranked(  # type: ignore[no-untyped-def]
    distinct, frauds, genuine, edges, counts
):
    """Add groups of equal score, highest first, to their bins."""
    place = BINS - 1
    for i in range(len(distinct)):
        while place > 0 and edges[place - 1] > distinct[i]:
            place -= 1
        counts[0, place] += genuine[i]
        counts[1, place] += frauds[i]


@kernel("int64(float64[::1])")
def _in_units(losses: Floats) -> int:
    """Their sum, each rounded to 1 / UNIT."""
    total = 0
    for loss in losses:
        total += int(np.rint(loss * UNIT))
    return total
