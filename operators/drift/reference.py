"""What scores were worth of late: the events whose labels are in, older ones fading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.drift.shares import FIT, Curve, Estimate, chances
from operators.drift.spans import FRAUDS, GENUINE, LOG_ODDS, PLACES, Floats, Int64s

_KEEPS = 30.0
"""How many spans the usual misfit is the mean of."""
_SETTLED = 40.0
"""How many times the least number of frauds a curve is of before charts are told what it says."""
_MOST, _VAGUE = 2.0, 0.7
"""What misfit counts as usual at most; from what standard error of log-odds on nothing is said."""
_WORD, _LATELY, _ALL = range(3)
_SHORT, _SURER, _FURTHEST = 4.0, 10.0, 100.0
"""How many times shorter late memory is; by what log-likelihood another is believed, and by how
much one may be ahead."""
_INSIDE = 1e-9


class Reference:
    """Labelled events by place, a row each; their weight halves in so many spans.

    A figure that is said by a curve moves a little with each span that the curve is fitted to, and
    stays there: over weeks that adds up to what a chart would take for a change of events. So
    charts are told how far it is from what the same curve says of the reference.

    A fraud whose label comes after the maturity has counted as genuine by then. So each that came
    in time stands for as many as there are to one of those, late ones counted in (Horvitz and
    Thompson, 1952): curves are of all frauds whose labels come while events are remembered.

    Memory: 4 kB a row, and as much again for its curve. A row with fewer than `least` frauds, or
    no genuine event, has no curve, and nothing is estimated of it.
    """

    def __init__(self, rows: int, half_life: float, least: float) -> None:
        self.cells = np.zeros((rows, 2, PLACES))
        self.usual = np.ones((rows, 2))
        """The mean misfit of spans that are told by their scores, and of how many."""
        self.came = np.zeros((rows, 2))
        """Frauds whose labels came in time, and late; they fade as events do."""
        self.fresh = np.zeros(rows, np.int64)
        """Late ones since the last span."""
        self.begun = np.zeros(1, np.int64)
        """Whether these are spans of settled scores."""
        self._fade, self._least = 0.5 ** (1.0 / half_life), least
        self._curves: Sequence[Curve | None] | None = None

    def late(self, frauds: Int64s) -> None:
        """Take how many late labels came, (rows,)."""
        self.fresh += frauds

    @property
    def in_time(self) -> Floats:
        """(rows,) The share of labels that come within the maturity."""
        came = self.came[:, 0]
        return np.asarray(np.where(came > 0, came / np.maximum(self.came.sum(axis=1), 1.0), 1.0))

    def add(self, counts: Int64s, *, settled: bool) -> Floats:
        """Take a span whose labels are in, (rows, spans.WIDTH); its events as `in_the_end`.

        The first whose scores had settled is the first: those before are forgotten.
        """
        if settled and not self.begun[0]:
            self.begun[0] = 1
            self._forget()
        self.came *= self._fade
        self.came += np.stack([counts[:, FRAUDS].sum(axis=1), self.fresh], axis=1)
        self.fresh[:] = 0
        labelled = np.stack([counts[:, GENUINE], counts[:, FRAUDS]], axis=1)
        self._take(labelled)
        self._curves = None
        return self.in_the_end(labelled)

    def in_the_end(self, labelled: npt.NDArray[Any]) -> Floats:
        """Events (rows, 2, PLACES), genuine and frauds, with late labels to be expected.

        Where nearly all are frauds, genuine ones may be fewer than none: so sums are not bent.
        """
        frauds = labelled[:, 1] / self.in_time[:, None]
        return np.stack([labelled.sum(axis=1) - frauds, frauds], axis=1)

    @property
    def events(self) -> Floats:
        """(rows, PLACES) of them all."""
        return np.asarray(self.cells.sum(axis=1))

    def _forget(self) -> None:
        self.cells[...], self.usual[...] = 0.0, 1.0

    def _take(self, came: Int64s) -> None:
        """Count events of a span, (rows, 2, PLACES)."""
        self.cells *= self._fade
        self.cells += came

    @property
    def curves(self) -> Sequence[Curve | None]:
        """The curve of each row: that of all events, and for each slice value what it has more."""
        if self._curves is None:
            enough = tuple(self._enough(row) for row in range(len(self.cells)))
            believed = self.in_the_end(self._believed()).tobytes()
            self._curves = _fitted(believed, enough, self._at_their_word)
        return self._curves

    def _believed(self) -> Floats:
        """The events that curves are of."""
        return self.cells

    @property
    def _at_their_word(self) -> bool:
        """Whether scores are taken to be worth what they say."""
        return False

    def _enough(self, row: int) -> bool:
        genuine, frauds = self.cells[row].sum(axis=1)
        return bool(genuine > 0 and frauds >= self._least)

    def estimate(self, row: int, events: Floats) -> Estimate | None:
        """Of events by place; None without a curve that tells frauds, or of too few of them."""
        curve = self.curves[row]
        if curve is None or curve.chance @ events < self._least:
            return None
        return _estimated(curve, events.tobytes())

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
        own = {"labelled": self.cells, "usual": self.usual, "begun": self.begun}
        return own | {"came": self.came, "fresh": self.fresh}


class Current(Reference):
    """One for a champion that learns, whose scores are not worth what they were a month ago.

    Beside all labelled events it knows those of late, whose weight halves in a quarter of the time,
    and it may take scores at their word. By which of the three labels of late were likeliest is
    believed; another only if it is so by more than chance makes it. Memory: 4 kB a row more.
    """

    def __init__(self, rows: int, half_life: float, least: float) -> None:
        super().__init__(rows, half_life, least)
        self._late_fade = 0.5 ** (_SHORT / half_life)
        self.lately = np.zeros_like(self.cells)
        self.likely = np.zeros(3)
        """The log-likelihood of labels by each, fading as late events do."""
        self.choice = np.array([_ALL])

    def _forget(self) -> None:
        super()._forget()
        self.lately[...], self.likely[...], self.choice[0] = 0.0, 0.0, _ALL

    def _take(self, came: Int64s) -> None:
        if self._enough(0) and self.lately[0, 1].sum() > 0:
            self._choose(self.in_the_end(came)[0])
        super()._take(came)
        self.lately *= self._late_fade
        self.lately += came

    def _choose(self, came: Floats) -> None:
        """By the labels of a span, (2, PLACES), that none of the three knows yet."""
        memories = (self.in_the_end(each)[0] for each in (self.lately, self.cells))
        known = chances(LOG_ODDS), *(Curve.of(*each).chance for each in memories)
        self.likely *= self._late_fade
        for place, chance in enumerate(known):
            inside = np.clip(chance, _INSIDE, 1.0 - _INSIDE)
            self.likely[place] += came[1] @ np.log(inside) + came[0] @ np.log(1.0 - inside)
        best = int(self.likely.argmax())
        self.likely[:] = np.maximum(self.likely, self.likely[best] - _FURTHEST)
        if self.likely[best] > self.likely[self.choice[0]] + _SURER:
            self.choice[0] = best

    def _believed(self) -> Floats:
        return self.cells if self.choice[0] == _ALL else self.lately

    @property
    def _at_their_word(self) -> bool:
        return bool(self.choice[0] == _WORD)

    def fits(self, row: int, estimate: Estimate) -> bool:
        """As a `Reference`; never where the champion learns a moved share of frauds by itself."""
        return super().fits(row, estimate) and self.choice[0] == _ALL

    def parts(self) -> dict[str, npt.NDArray[Any]]:
        own = {"lately": self.lately, "likely": self.likely, "choice": self.choice}
        return super().parts() | own


# Monitors of the same spans are told the same one after another: the second finds it done.
@lru_cache(maxsize=2)
def _fitted(
    cells: bytes, enough: tuple[bool, ...], at_their_word: bool
) -> tuple[Curve | None, ...]:
    rows = np.frombuffer(cells).reshape(-1, 2, PLACES).copy()
    whole = (_said if at_their_word else Curve.of)(*rows[0]) if enough[0] else None
    slices = zip(rows[1:], enough[1:], strict=True)
    return (whole, *(whole.of_slice(*own) if whole and it else None for own, it in slices))


@lru_cache(maxsize=64)
def _estimated(curve: Curve, events: bytes) -> Estimate | None:
    return curve.estimate(np.frombuffer(events).copy())


def _said(genuine: Floats, frauds: Floats) -> Curve:
    """The curve of scores that are worth what they say."""
    return Curve(genuine + frauds, chances(LOG_ODDS), float(frauds.sum()))
