"""Whether a feature knows the label: each alone, and all the others without it.

The older half of the labelled events is learnt from, the newer half judged. What is honest
predicts beside other features, and with errors. What was made of the label, or of what followed
from it, does without the others; and it says nothing yet of events whose labels are not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from jobs.judged import Labelled
from jobs.report.charts import wilson
from models.base import Floats
from models.bins import edges_at
from models.linear import Linear
from operators.metrics import auc, average_precision
from streams.errors import InputError

Labels = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]
Edges = tuple[float, ...]
PERFECT = 0.95
"""AUC of a feature alone that no honest one has."""
CLOSES, SURPASSES = 0.2, 0.1
"""Of what the others lack to the perfect order, the part that one adds which knows the label; and
the part that is enough for a look at one that alone does better than all the others together."""
CERTAIN, SURE, OFTEN = 0.8, 0.9, 0.1
"""Values of which so large a share of the older half was positive, at least so large a share of the
newer half is, and so large a share of all positives has one."""
SAME = 0.8
"""Correlation of what two features say alone above which they are taken for one, told twice."""
QUANTILES = 64
"""Of the values of either class: as many edges each, at most."""
BLOCKS = 20
ENOUGH = 50
"""Positives in each half: with fewer, intervals mean nothing."""
_Z = 1.96
_FAR, _LESS, _STRETCHES = 6.0, 0.75, 4
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, and how far its interval of 95 % reaches to either side."""

    value: float
    reach: float

    @property
    def low(self) -> float:
        """Where the interval begins."""
        return self.value - self.reach

    @property
    def high(self) -> float:
        """Where it ends."""
        return self.value + self.reach


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the tests say of one feature."""

    name: str
    auc: Estimate
    """Alone."""
    alone: Estimate
    """Average precision, alone."""
    without: Estimate
    """Average precision of all the others together, but for those that say the same."""
    closes: Estimate
    """What it adds to that, as a part of what they lack to the perfect order."""
    leaks: tuple[str, ...] = ()
    """In words, why it is taken to know the label."""
    odd: tuple[str, ...] = ()
    """In words, why it deserves a look: an honest one may do so too."""


@dataclass(frozen=True, slots=True)
class Leakage:
    """What the tests found."""

    where: str
    learnt: tuple[int, int]
    """Events and positives that were learnt from."""
    judged: tuple[int, int]
    together: Estimate
    """Average precision of all features."""
    features: list[Verdict]
    """The most suspicious first."""

    @property
    def leaks(self) -> list[Verdict]:
        """The features that know the label."""
        return [each for each in self.features if each.leaks]


def check_leakage(
    events: Labelled, said: Callable[[int, float], None] = lambda _rows, _share: None
) -> Leakage:
    """Test every feature; `said` is told how many rows were gone through, and what share of all.

    Raises InputError where there are too few positives to tell anything.
    """
    halves = _Halves(events)
    found = []
    for place in range(len(events.names)):
        found.append(halves.of(place))
        said((place + 1) * len(events.y), (place + 1) / len(events.names))
    found.sort(key=lambda each: (not each.leaks, not each.odd, -each.closes.value))
    learnt, judged = ((len(y), int(y.sum(dtype=np.int64))) for y in (halves.learnt, halves.judged))
    return Leakage(events.where, learnt, judged, halves.precision(halves.together), found)


class _Halves:
    """The two halves, their bins, and what all features together score."""

    def __init__(self, events: Labelled) -> None:
        settled = int(np.count_nonzero(events.y >= 0))
        half = settled // 2
        self._names, self._at_once = events.names, events.at_once
        self._x, self._new = events.x[:half], events.x[half:settled]
        self._fresh = events.x[settled:]
        self.learnt, self.judged = events.y[:half], events.y[half:settled]
        older, newer = (int(np.count_nonzero(y)) for y in (self.learnt, self.judged))
        if min(older, newer) < ENOUGH:
            raise InputError(
                f"{events.where}: wanted {ENOUGH} positives in the older and in the newer half of "
                f"the labelled events, got {older} and {newer} of {settled:,} events: give more, "
                "by --rows or a longer run"
            )
        self._blocks = np.arange(len(self.judged)) * BLOCKS // len(self.judged)
        self._edges = [edges_of(column, self.learnt) for column in self._x.T]
        self.together = self._linear(list(range(len(self._names))))
        own = [np.log(self._alone(place, self._new)) for place in range(len(self._names))]
        centred = np.array([each - each.mean() for each in own])
        sizes = np.sqrt(np.square(centred).sum(axis=1)) + _TINY
        self._alike = (centred / sizes[:, None]) @ (centred / sizes[:, None]).T > SAME

    def of(self, place: int) -> Verdict:
        """Test one feature."""
        scores = self._alone(place, self._new)
        others = [i for i, same in enumerate(self._alike[place]) if i != place and not same]
        without = self._linear(others)

        def closes(rows: Bools) -> float:
            y = self.judged[rows]
            before = average_precision(without[rows], y)
            return (average_precision(self.together[rows], y) - before) / max(1 - before, 1e-9)

        bare = Verdict(
            name=self._names[place],
            auc=self._estimate(lambda rows: auc(scores[rows], self.judged[rows])),
            alone=self.precision(scores),
            without=self.precision(without),
            closes=self._estimate(closes),
        )
        certain = self._is_certain(scores)
        leaks = list(_leaks(bare, certain=certain))
        if bare.name in self._at_once:
            leaks.append("it reads labels, which are known here at the time of their own event")
        if self._is_filled_in_later(place, scores):
            leaks.append(
                "it says little of events whose labels are not known yet, much once they are"
            )
        return replace(bare, leaks=tuple(leaks), odd=tuple(_odd(bare, certain=certain)))

    def _is_certain(self, scores: Floats) -> bool:
        """Whether many positives have values that hardly a negative has."""
        chosen = scores >= CERTAIN
        hits, n = int(np.count_nonzero(self.judged[chosen])), int(np.count_nonzero(chosen))
        often = hits >= OFTEN * np.count_nonzero(self.judged)
        return bool(n and often and wilson(hits / n, n)[0] >= SURE)

    def _is_filled_in_later(self, place: int, scores: Floats) -> bool:
        """Whether what it says falls, where labels end, as it does from no stretch to another."""
        size = len(self._fresh)
        count = min(len(scores) // size, BLOCKS) if size >= ENOUGH else 0
        if count < _STRETCHES:
            return False
        stretches = np.array([part.mean() for part in np.array_split(scores, count)])
        fresh = self._alone(place, self._fresh).mean()
        mean, spread = stretches.mean(), stretches.std(ddof=1) * math.sqrt(1 + 1 / count)
        return bool(fresh < _LESS * mean and mean - fresh > _FAR * spread)

    def _alone(self, place: int, judged: Floats) -> Floats:
        """Scores by the share of positives in the bin of each value, one bin for missing ones."""
        where = np.array(self._edges[place])
        bins = [
            np.where(np.isnan(values), 0, 1 + np.searchsorted(where, values, side="right"))
            for values in (self._x[:, place], judged[:, place])
        ]
        size = len(where) + 2
        seen = np.bincount(bins[0], minlength=size)
        hits = np.bincount(bins[0], self.learnt, minlength=size)
        return np.asarray(((hits + self.learnt.mean()) / (seen + 1.0))[bins[1]])

    def _linear(self, places: list[int]) -> Floats:
        """Scores by a `Linear` of these features, in the same bins."""
        if not places:
            return np.full(len(self.judged), self.learnt.mean())
        names = tuple(self._names[place] for place in places)
        inputs = {self._names[place]: edges_at(*self._edges[place]) for place in places}
        learner = Linear(inputs=inputs, bits=16, alpha=0.2).bind(names)
        x, judged = (np.ascontiguousarray(each[:, places]) for each in (self._x, self._new))
        learner.learn_many(x, self.learnt, np.ones(len(x)))
        return learner.version().predict_many(judged)

    def precision(self, scores: Floats) -> Estimate:
        """The average precision of scores of what is judged."""
        return self._estimate(lambda rows: average_precision(scores[rows], self.judged[rows]))

    def _estimate(self, metric: Callable[[Bools], float]) -> Estimate:
        """A figure of all that is judged, its interval by leaving out each block in turn.

        Events that follow each other are not independent, blocks of them nearly are (Künsch, *The
        Jackknife and the Bootstrap for General Stationary Observations*, 1989).
        """
        whole = metric(np.ones(len(self._blocks), np.bool_))
        parts = np.array([metric(self._blocks != block) for block in range(BLOCKS)])
        spread = (BLOCKS - 1) / BLOCKS * float(np.square(parts - parts.mean()).sum())
        return Estimate(whole, _Z * math.sqrt(spread))


def _leaks(found: Verdict, *, certain: bool) -> Iterator[str]:
    """Which figures are beyond what an honest feature has."""
    if found.auc.low >= PERFECT:
        yield f"alone it tells the label nearly without error: AUC {found.auc.value:.3f}"
    if found.closes.low >= CLOSES and certain:
        yield f"{_adds(found)}, and where it speaks it is certain"


def _odd(found: Verdict, *, certain: bool) -> Iterator[str]:
    """Which are beyond what most have."""
    if found.closes.low >= CLOSES and not certain:
        yield _adds(found)
    elif SURPASSES <= found.closes.low < CLOSES and found.alone.low > found.without.high:
        both = f"average precision {found.alone.value:.3f} and {found.without.value:.3f}"
        yield f"alone it does better than all the others together: {both}"


def _adds(found: Verdict) -> str:
    return f"it adds {found.closes.value:.0%} of what all the others lack to the perfect order"


def edges_of(values: Floats, y: Labels) -> Edges:
    """Edges of bins: between the quantiles of the negatives' values and of the positives'.

    >>> edges_of(np.array([1.0, 2.0, 4.0, np.nan]), np.array([0, 0, 1, 1], np.int8))
    (1.5, 3.0)
    """
    known = np.unique(values[np.isfinite(values)])
    if len(known) > QUANTILES:
        at = np.arange(1, QUANTILES + 1) / (QUANTILES + 1)
        classes = [values[(y == label) & np.isfinite(values)] for label in (0, 1)]
        picked = [np.quantile(each, at, method="lower") for each in classes if len(each)]
        known = np.unique(np.concatenate([known[:1], *picked, known[-1:]]))
    return tuple(np.unique(known[1:] / 2 + known[:-1] / 2).tolist()) or (0.0,)
