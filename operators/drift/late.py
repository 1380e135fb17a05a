"""How well recent events were ranked, when only a part of their frauds is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from operators.drift.arrival import Delays
from operators.drift.ranking import deviations, weighed
from operators.drift.spans import EVENTS, FRAUDS, TOOK, WHEN, Floats, Spans

LEAST_KNOWN, LEAST_LABELS = 0.1, 20
"""Where a smaller share of the frauds is known by now, or fewer delays are, nothing is said."""


@dataclass(frozen=True, slots=True)
class RecentMetrics:
    """Figures of events whose labels are not all in: those in the end, as well as can be told."""

    start_us: int
    end_us: int
    slice: str
    value: str
    events: int
    frauds: int
    """Known by now."""
    known: float
    """The share of frauds that should be, by the delays of labels."""
    share: float
    """Of frauds among events, those not known yet counted in."""
    auc: float
    average_precision: float
    recall_at_budget: float
    errors: tuple[float, float, float, float]
    """Standard errors of share, AUC, average precision and recall: how far the end may be from it.
    """


@dataclass(frozen=True, slots=True)
class _Weighed:
    """Events of a span, or of several, and what their known frauds stand for, by place."""

    events: Floats
    known: Floats
    frauds: Floats
    squares: Floats
    """Of the weights, summed."""
    variances: Floats
    apart: float
    """How many frauds more, were the share that is known one deviation smaller."""

    @classmethod
    def of(cls, events: Floats, known: Floats, share: float, variance: float) -> _Weighed:
        """A span, of whose frauds this share is known; the variance is of its logarithm."""
        frauds = known / share
        left = frauds * (1.0 - share) / share
        apart = float(frauds.sum()) * variance**0.5
        return cls(events, known, frauds, frauds / share, left, apart)

    def plus(self, other: _Weighed) -> _Weighed:
        """Both together."""
        return _Weighed(*(getattr(self, f) + getattr(other, f) for f in self.__slots__))

    def metrics(
        self, start_us: int, end_us: int, name: tuple[str, str], budget: float
    ) -> RecentMetrics:
        """What is to be said of them."""
        n, frauds = float(self.events.sum()), float(self.frauds.sum())
        scale = (self.apart / frauds) ** 2 if frauds else 0.0
        total = float(self.variances.sum()) + self.apart**2
        errors = deviations(self.events, self.frauds, self.variances, scale, budget).tolist()
        auc, precision, recall = weighed(self.events, self.frauds, self.squares, budget).tolist()
        known = float(self.known.sum())
        return RecentMetrics(
            start_us=start_us,
            end_us=end_us,
            slice=name[0],
            value=name[1],
            events=int(n),
            frauds=int(known),
            known=known / frauds if frauds else math.nan,
            share=frauds / n,
            auc=auc,
            average_precision=precision,
            recall_at_budget=recall,
            errors=(total**0.5 / n, *errors),
        )


def recent(spans: Spans, took: Floats, now_us: int, budget: float) -> Iterator[RecentMetrics]:
    """Of each row, the spans that are not whole, and then all of them together.

    `took` (rows, DELAYS) are delays of spans that are. Where delays and scores depend on each other
    within a row, so do these figures.
    """
    first, last = int(spans.clock[2]), spans.open
    numbers = np.arange(max(first, last - spans.held + 1), last + 1)
    cells = spans.cells[numbers % spans.held]
    age = now_us - (numbers + 1) * spans.span_us
    for row, name in enumerate(spans.rows.names):
        if took[row].sum() < LEAST_LABELS:
            continue
        delays = Delays.of(took[row], cells[:, row, TOOK], age)
        whole: _Weighed | None = None
        begun = end = 0
        for number, own in zip(numbers.tolist(), cells[:, row], strict=True):
            start = number * spans.span_us
            share, variance = delays.known(start, spans.span_us, own[WHEN], now_us)
            if share < LEAST_KNOWN or not own[EVENTS].any():
                continue
            held = own[EVENTS].astype(np.float64), own[FRAUDS].astype(np.float64)
            one = _Weighed.of(*held, share, variance)
            yield one.metrics(start, start + spans.span_us, name, budget)
            begun = begun if whole else start
            whole = whole.plus(one) if whole else one
            end = start + spans.span_us
        if whole:
            yield whole.metrics(begun, end, name, budget)
