"""Slices of the events in which scores do much worse than in the rest, found and named.

A slice is a range of one feature, or of two. Of every event the log loss is compared with what its
score leads one to expect, the entropy of that probability: the difference is zero on average
wherever scores keep their word, however rare positives are there. Of the slices that are
significantly and much worse than the rest the clearest is named, its events are set aside, and the
search begins again (in the manner of Chung and others, *Automated Data Slicing for Model
Validation*, 2019). `jobs.slice_tests` says how it is tested; over the whole search it is corrected
by the procedure of Benjamini and Hochberg: where nothing is wrong, at most a share `LEVEL` of
searches name anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from jobs.judged import Labelled
from jobs.slice_tests import Compared, Moments
from models.base import Floats
from operators.metrics import SMALLEST, average_precision
from streams.errors import InputError

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Span = tuple[int, int, int]
"""A feature by its place, its first bin and its last."""
LEVEL = 0.05
EFFECT = 0.1
"""Difference of the means, in standard deviations, from which on a slice is much worse."""
MOST = 8
"""Slices that are named at most."""
QUANTILES = 4
"""Edges at so many quantiles of the values, and at so many of the values weighted by the score."""
POSITIVES = 20
PAIRED = 40
"""Of more features than that, those whose ranges are worst alone are tried in pairs."""
ALONE = 0.9
"""A range of one feature is named rather than a clearer slice of two if it is at least so clear
beside it."""


@dataclass(frozen=True, slots=True)
class Range:
    """Values of a feature from `low` on to below `high`; or, with neither, those missing."""

    feature: str
    low: float | None
    high: float | None

    def __str__(self) -> str:
        """As one would say it.

        >>> str(Range("amount", 20.0, math.inf)), str(Range("amount", None, None))
        ('amount ≥ 20', 'amount missing')
        """
        if self.low is None or self.high is None:
            return f"{self.feature} missing"
        if self.low == -math.inf:
            return f"{self.feature} < {self.high:.4g}"
        if self.high == math.inf:
            return f"{self.feature} ≥ {self.low:.4g}"
        return f"{self.low:.4g} ≤ {self.feature} < {self.high:.4g}"


@dataclass(frozen=True, slots=True)
class Slice:
    """One that does much worse than the rest, without the events of those named before it."""

    ranges: tuple[Range, ...]
    events: int
    positives: int
    loss: float
    """Mean log loss."""
    expected: float
    """What its scores lead one to expect."""
    rest: tuple[float, float]
    """The two, of the rest."""
    effect: float
    """Difference to the rest of what is beyond expectation, in standard deviations."""
    p: float
    """Chance of such a difference where there is none, for this slice alone."""
    precision: float
    """Average precision within it; nan without a positive."""
    precision_rest: float

    @property
    def name(self) -> str:
        """Its ranges."""
        return " and ".join(map(str, self.ranges))


@dataclass(frozen=True, slots=True)
class Slices:
    """What a search found, the clearest first."""

    where: str
    events: int
    positives: int
    tried: int
    """Slices that were tested the first time."""
    found: tuple[Slice, ...]


def find_slices(
    events: Labelled,
    *,
    effect: float = EFFECT,
    said: Callable[[int, float], None] = lambda _rows, _share: None,
) -> Slices:
    """Search the events whose labels are known; `said` is told how many rows were gone through.

    Time is in proportion to events and to pairs of features, of which there are at most 780, at
    most nine times over. Raises InputError where there are too few positives to tell anything.
    """
    known = np.flatnonzero(events.y >= 0)
    y, score = events.y[known].astype(np.float64), events.score[known]
    positives = int(y.sum())
    if positives < POSITIVES:
        raise InputError(
            f"{events.where}: wanted {POSITIVES} positives, got {positives} of {len(y):,} events "
            "whose labels are known: give more, by --rows or a longer run"
        )
    search = _Search(events.names, events.x[known], y, score)
    found: list[Slice] = []
    while len(found) < MOST:
        best = search.clearest(effect)
        said(len(y) * (len(found) + 1), (len(found) + 1) / MOST)
        if best is None:
            break
        found.append(search.take(*best))
    return Slices(events.where, len(y), positives, search.tried, tuple(found))


@dataclass(frozen=True, slots=True)
class _Binned:
    """A feature in bins: 0 of missing values, then by size."""

    name: str
    edges: Floats
    bins: Int64s

    @property
    def count(self) -> int:
        return len(self.edges) + 2

    def range(self, first: int, last: int) -> Range:
        """The values of these bins."""
        if not last:
            return Range(self.name, None, None)
        bounds = [-math.inf, *self.edges.tolist(), math.inf]
        return Range(self.name, bounds[first - 1], bounds[last])


class _Search:
    """The events that are in no named slice yet, and their features in bins."""

    def __init__(self, names: tuple[str, ...], x: Floats, y: Floats, score: Floats) -> None:
        p = np.clip(score, SMALLEST, 1 - SMALLEST)
        self._y, self._score = y, score
        self._loss = -(y * np.log(p) + (1 - y) * np.log1p(-p))
        self._expected = -(p * np.log(p) + (1 - p) * np.log1p(-p))
        columns = zip(names, x.T, strict=True)
        self._features = [_binned(name, values, score) for name, values in columns]
        self._left = np.ones(len(y), np.bool_)
        self.tried = 0

    def clearest(self, effect: float) -> tuple[tuple[Span, ...], float, float] | None:
        """Of the slices that are significantly worse, and by that effect, the clearest.

        Its ranges, effect and p; None if there is none.
        """
        rows = np.flatnonzero(self._left)
        worse = self._loss[rows] - self._expected[rows]
        moments = Moments(worse, self._score[rows], float(self._y[rows].mean()))
        single = [self._alone(place, moments, rows) for place in range(len(self._features))]
        tested = [each for each in single if len(each.spans)]
        worst = sorted(tested, key=lambda each: -each.most)[:PAIRED]
        places = sorted(each.spans[0][0][0] for each in worst)
        paired = [
            self._together(one, other, moments, rows) for one, other in combinations(places, 2)
        ]
        if not tested:
            return None
        p = np.concatenate([each.p for each in (*tested, *paired)])
        self.tried = self.tried or len(p)
        alone, pair = (
            max(filter(None, (each.clearest(_level(p), effect) for each in kind)), default=None)
            for kind in (tested, paired)
        )
        if alone and pair and alone[0] < ALONE * pair[0]:
            alone = None
        best = alone or pair
        return best and best[1:]

    def _alone(self, place: int, moments: Moments, rows: Int64s) -> Compared:
        """Every run of neighbouring bins of a feature, and its missing values."""
        feature = self._features[place]
        last = feature.count - 1
        runs = [(0, 0)] + [(a, b) for a in range(1, last + 1) for b in range(a, last + 1)]
        runs.remove((1, last))
        at = np.array(runs)
        cells = moments.cells(feature.bins[rows], feature.count).runs(at[:, 0], at[:, 1])
        return moments.compared(cells, [((place, a, b),) for a, b in runs])

    def _together(self, left: int, right: int, moments: Moments, rows: Int64s) -> Compared:
        """Every bin of one feature with every bin of another."""
        one, other = self._features[left], self._features[right]
        bins = one.bins[rows] * other.count + other.bins[rows]
        cells = moments.cells(bins, one.count * other.count)
        places = (divmod(cell, other.count) for cell in range(one.count * other.count))
        return moments.compared(cells, [((left, a, a), (right, b, b)) for a, b in places])

    def take(self, spans: tuple[Span, ...], effect: float, p: float) -> Slice:
        """Name a slice, and set its events aside."""
        inside = self._left.copy()
        for place, first, last in spans:
            bins = self._features[place].bins
            inside &= (bins >= first) & (bins <= last)
        rest = self._left & ~inside
        self._left = rest
        return Slice(
            ranges=tuple(self._features[place].range(a, b) for place, a, b in spans),
            events=int(np.count_nonzero(inside)),
            positives=int(self._y[inside].sum()),
            loss=float(self._loss[inside].mean()),
            expected=float(self._expected[inside].mean()),
            rest=(float(self._loss[rest].mean()), float(self._expected[rest].mean())),
            effect=effect,
            p=p,
            precision=self._precision(inside),
            precision_rest=self._precision(rest),
        )

    def _precision(self, chosen: Bools) -> float:
        return float(average_precision(self._score[chosen], self._y[chosen].astype(np.int8)))


def _level(p: Floats) -> float:
    """The largest p that is significant among all of them (Benjamini and Hochberg, 1995).

    >>> _level(np.array([0.001, 0.04, 0.9, 0.02]))
    0.02
    """
    ordered = np.sort(p)
    good = np.flatnonzero(ordered <= LEVEL * np.arange(1, len(p) + 1) / len(p))
    return float(ordered[good[-1]]) if len(good) else -1.0


def _binned(name: str, values: Floats, score: Floats) -> _Binned:
    edges = _edges(values, score)
    bins = np.where(np.isnan(values), 0, 1 + np.searchsorted(edges, values, side="right"))
    return _Binned(name, edges, bins.astype(np.int64))


def _edges(values: Floats, score: Floats) -> Floats:
    """Values at quantiles of all events and of those that score high, or all if they are few.

    Labels have no say in it, or ranges would be cut to what happened.
    """
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    ordered = values[order]
    distinct = np.unique(ordered)
    if len(distinct) <= 2 * QUANTILES:
        return np.asarray(distinct[1:])
    at = np.arange(1, QUANTILES + 1) / (QUANTILES + 1)
    weights = np.cumsum(score[order])
    places = np.concatenate(
        [(at * len(order)).astype(np.int64), np.searchsorted(weights, at * weights[-1])]
    )
    edges = np.unique(ordered[np.minimum(places, len(ordered) - 1)])
    return np.asarray(edges[edges > ordered[0]])
