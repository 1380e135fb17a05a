"""Scores counted in fine bins of log-odds: what remains of examples that are too many to keep.

Counts and sums are integers, so bins of parts of a stream merge to those of the whole, in any
order and bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.metrics import Floats, Groups, Ints, Labels, losses

BINS = 4096
REACH = 16.0
"""Bins are 1/128 wide, or nearly, in log-odds from -REACH to REACH; the end bins hold the rest."""

LOG_ODDS = np.linspace(-REACH, REACH, BINS - 1)
EDGES = 1.0 / (1.0 + np.exp(-LOG_ODDS))
MIDDLES = 1.0 / (1.0 + np.exp(-(np.arange(BINS) - (BINS - 1) / 2) * (LOG_ODDS[1] - LOG_ODDS[0])))
"""The probability that stands for a bin: within 0.4 % of the odds of every score in it."""

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

    def add(self, groups: Ints, scores: Floats, label: Labels) -> None:
        """Count n examples: `groups` (n, m) each one's groups, -1 for none; `scores` (n, S)."""
        row, column = np.nonzero(groups >= 0)
        cell = groups[row, column][:, None] * scores.shape[1] + np.arange(scores.shape[1])
        place = (cell * 2 + label[row, None]) * BINS
        place += np.searchsorted(EDGES, scores, side="right")[row]
        np.add.at(self.counts.reshape(-1), place.reshape(-1), 1)
        terms = np.stack([losses(scores, label[:, None]), (scores - label[:, None]) ** 2], axis=2)
        fixed = np.rint(terms * UNIT).astype(np.int64)
        np.add.at(self.sums.reshape(-1, 2, 2)[:, :, 1], cell, fixed[row])
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
        genuine, frauds = self.counts[group, scorer, :, ::-1]
        return Groups(frauds, genuine)

    def mean_losses(self, group: int, scorer: int) -> Floats:
        """Log loss and Brier score; nan of no examples."""
        n, _ = self.count(group)
        whole, fraction = self.sums[group, scorer].T
        return np.asarray((whole + fraction / UNIT) / n if n else np.full(2, np.nan), np.float64)

    def calibration_error(self, group: int, scorer: int, bins: int = 10) -> float:
        """As `metrics.calibration_error`, of scores rounded to bins."""
        genuine, frauds = self.counts[group, scorer]
        examples = genuine + frauds
        n = int(examples.sum())
        if not n:
            return float("nan")
        part = np.minimum((np.cumsum(examples) - examples) * bins // n, bins - 1)
        gap = np.bincount(part, examples * MIDDLES - frauds, bins)
        return float(np.sum(np.abs(gap))) / n

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
