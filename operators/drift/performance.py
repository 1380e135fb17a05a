"""How well events are ranked: as is to be expected of their scores, and as labels tell later.

Confidence-based performance estimation: what a score is worth is known from events whose labels are
in (`shares.Curve`), so that every metric has a value to be expected of any scores. Where frauds
have become more or fewer, and look as they did, chances are corrected for it first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from models.state import restore
from operators.drift.alarm import Finding
from operators.drift.bucket import Bucket, Scope
from operators.drift.chart import EarlyAndLate, Signal
from operators.drift.late import RecentMetrics, recent
from operators.drift.ranking import METRICS, alert_rate, expected, weighed
from operators.drift.reference import Current
from operators.drift.shares import chances, corrected, log_odds
from operators.drift.spans import (
    DELAYS,
    EVENTS,
    PLACES,
    TOOK,
    Floats,
    Rows,
    Spans,
    span_of,
)  # fmt: skip
from streams.schema import duration_us

_KEPT, _SURE = 64, 1e-9
NUMBER, COUNT, SHARE, SHIFT, ALERTS, EXPECTED, TRUE_SHARE, TRUE = 0, 1, 2, 3, 4, 5, 8, 9
_COLUMNS = 12


@dataclass(frozen=True, slots=True)
class SpanMetrics:
    """What was to be expected of a span's events and, once it is known, what was true."""

    start_us: int
    end_us: int
    slice: str
    value: str
    events: int
    share: float
    """Of frauds, expected."""
    shift: float
    """What the log-odds of a fraud had grown by."""
    alert_rate: float
    """Of scores like those that the budget's share of the reference had, or higher ones."""
    expected: dict[str, float]
    """AUC, average precision, recall at the budget."""
    true_share: float
    true: dict[str, float]
    """nan until the labels are in."""
    errors: dict[str, float]
    """How far the true values of spans so far were from the expected, on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """Tells when events are ranked worse, of all or of a value of a slice, before labels tell it.

    Of every span of event time a metric is expected from scores alone, and compared with that of
    the spans before; when its labels are in, so is the true one. What is compared is not corrected
    for the prior: what is corrected by nothing mostly, and seldom by much, is no even series. A
    false alarm comes every `run_length` on average, of all rows together. A span in which
    fewer than `least` frauds are expected, or are, says nothing.

    The reference are the spans whose labels are in, from `settle` after the first version on: their
    weight halves in `reference`. What the labels tell of frauds that look otherwise, scores cannot:
    an expected metric says nothing of concept drift.
    """

    metric: Literal["auc", "average_precision", "recall_at_budget"] = "average_precision"
    span: str = "1d"
    run_length: str = "365d"
    reference: str = "28d"
    settle: str = "14d"
    least: float = 20.0

    def bind(self, scope: Scope) -> PerformanceMonitor:
        """One that has seen nothing."""
        return PerformanceMonitor(self, scope)


class PerformanceMonitor:
    """What `Performance` declares. State: 89 kB a row with spans of a day and a week's maturity."""

    def __init__(self, performance: Performance, scope: Scope) -> None:
        span_us = span_of(performance.span, scope.bucket)
        settle_us = duration_us(performance.settle)
        self.spans = Spans(
            Rows(scope.slices), span_us, scope.maturity_us, all_labels=True, settle_us=settle_us
        )
        rows, half_life = len(self.spans.rows), duration_us(performance.reference) / span_us
        self.reference = Current(rows, half_life, performance.least)
        run_length = duration_us(performance.run_length) / span_us
        self.charts = EarlyAndLate(rows, run_length=run_length, sides=-1)
        self.took = np.zeros((rows, DELAYS))
        """Delays of spans that are whole; they fade as the reference does."""
        self.errors = np.zeros((rows, 1 + len(METRICS)))
        """How many spans the errors are of, and the mean absolute error of each metric."""
        self.kept = np.full((max(_KEPT, self.spans.held), rows, _COLUMNS), np.nan)
        self._now = np.zeros(1, np.int64)
        self._fade, self._least, self._budget = (
            0.5 ** (1.0 / half_life),
            performance.least,
            scope.budget,
        )
        self._watched = METRICS.index(performance.metric)
        settings = (
            self._watched, span_us, scope.maturity_us, run_length, half_life,
            settle_us, performance.least, scope.budget,
        )  # fmt: skip
        self._fixed = {"settings": np.array(settings, np.float64)}

    def close(self, bucket: Bucket) -> Sequence[Finding]:
        done, whole = self.spans.take(bucket)
        if len(bucket.late):
            self.reference.late(self.spans.rows.count(bucket.late))
        self._now[0] = bucket.end_us
        found = [finding for number in whole for finding in self._known(number)]
        return found + [finding for number in done for finding in self._expected(number)]

    def _known(self, number: int) -> list[Finding]:
        """What the labels of a span say, which are all in."""
        counts = self.spans.of(number)
        labelled = self.reference.add(counts, settled=number >= self.spans.settled)
        self.took *= self._fade
        self.took += counts[:, TOOK]
        found = []
        for row, (genuine, frauds) in enumerate(labelled):
            events, squares = genuine + frauds, frauds / self.reference.in_time[row]
            told = self.kept[number % len(self.kept), row]
            if frauds.sum() < self._least:
                continue
            true = weighed(events, frauds, squares, self._budget)
            told[TRUE_SHARE], told[TRUE:] = frauds.sum() / events.sum(), true
            self._judge(row, np.abs(told[EXPECTED:TRUE_SHARE] - true))
            value = _even(float(true[self._watched]))
            signal = self.charts.take(row, value, number * self.spans.span_us, late=True)
            if signal:
                before, now = chances(np.array([signal.before, signal.now])).tolist()
                evidence = {"before": before, "now": now, "true": float(true[self._watched])}
                found.append(self._finding(row, "labels", signal, evidence, told))
        return found

    def _judge(self, row: int, apart: Floats) -> None:
        """The mean error goes on by one span, where anything was expected of it."""
        if not np.isnan(apart).any():
            count = min(self.errors[row, 0] + 1.0, _KEPT)
            self.errors[row, 0] = count
            self.errors[row, 1:] += (apart - self.errors[row, 1:]) / count

    def _expected(self, number: int) -> list[Finding]:
        """What is to be expected of a span's scores."""
        counts = self.spans.of(number)[:, EVENTS].astype(np.float64)
        kept = self.kept[number % len(self.kept)]
        kept[:], kept[:, NUMBER] = np.nan, number
        found = []
        for row, (events, curve) in enumerate(zip(counts, self.reference.curves, strict=True)):
            estimate = self.reference.estimate(row, events)
            kept[row, COUNT] = events.sum()
            if curve is None or estimate is None:
                continue
            sure = estimate.deviation * self.reference.spread(row)
            shift = estimate.shift if self.reference.fits(row, estimate) else 0.0
            shift *= max(1.0 - (sure / shift) ** 2, 0.0) if shift else 0.0
            chance = corrected(self._chances(row, counts), shift)
            told = kept[row]
            told[SHARE], told[SHIFT] = chance @ events / events.sum(), shift
            told[ALERTS] = alert_rate(events, curve.events, self._budget)
            told[EXPECTED:TRUE_SHARE] = expected(events, chance, self._budget)
            usual = self._said(row, self.reference.events)
            value = self._said(row, counts) - usual if self.reference.settled(row) else math.nan
            signal = self.charts.take(row, value, number * self.spans.span_us, late=False)
            if signal:
                now = float(told[EXPECTED + self._watched])
                evidence = {
                    "before": float(chances(np.array(usual))),
                    "now": now,
                    "log_odds": shift,
                }
                found.append(self._finding(row, "expected", signal, evidence, told))
        return found

    def _said(self, row: int, events: Floats) -> float:
        """The metric to be expected of events, as charts are told it."""
        chance = self._chances(row, events)
        return _even(float(expected(events[row], chance, self._budget)[self._watched]))

    def _chances(self, row: int, events: Floats) -> Floats:
        """Of being a fraud, by place, for the events (PLACES,) of a row of (rows, PLACES).

        Of all events the curve is that of all, moved by what each slice value has more or less.
        """
        whole, curve = self.reference.curves[0], self.reference.curves[row]
        if whole is None or curve is None:
            return np.full(PLACES, np.nan)
        if row:
            return curve.chance
        frauds = events[0] * whole.chance
        for own, part in zip(self.reference.curves[1:], events[1:], strict=True):
            frauds += part * (own.chance - whole.chance) if own else 0.0
        chance = np.where(events[0] > 0, frauds / np.maximum(events[0], 1.0), whole.chance)
        return np.clip(chance, _SURE, 1.0 - _SURE)

    def _finding(
        self, row: int, detector: str, signal: Signal, evidence: dict[str, float], told: Floats
    ) -> Finding:
        name, value = self.spans.rows.names[row]
        of = METRICS[self._watched]
        return Finding(
            kind="performance",
            detector=f"{of}, {detector}",
            since_us=signal.since_us,
            size=signal.size,
            threshold=self.charts.threshold,
            slice=name,
            value=value,
            evidence={
                "expected": float(told[EXPECTED + self._watched]),
                "mean_error": float(self.errors[row, 1 + self._watched]),
                "alert_rate": float(told[ALERTS]),
                "events": float(told[COUNT]),
            }
            | evidence,
            over=signal.over,
        )

    def rows(self) -> Iterator[SpanMetrics]:
        """The last 64 spans that are over, each row of them."""
        order = np.argsort(self.kept[:, 0, NUMBER])
        for span in self.kept[order][: int((~np.isnan(self.kept[:, 0, NUMBER])).sum())]:
            start = int(span[0, NUMBER]) * self.spans.span_us
            for told, errors, name in zip(span, self.errors, self.spans.rows.names, strict=True):
                yield SpanMetrics(
                    start_us=start,
                    end_us=start + self.spans.span_us,
                    slice=name[0],
                    value=name[1],
                    events=int(told[COUNT]),
                    share=float(told[SHARE]),
                    shift=float(told[SHIFT]),
                    alert_rate=float(told[ALERTS]),
                    expected=dict(zip(METRICS, told[EXPECTED:TRUE_SHARE].tolist(), strict=True)),
                    true_share=float(told[TRUE_SHARE]),
                    true=dict(zip(METRICS, told[TRUE:].tolist(), strict=True)),
                    errors=dict(zip(METRICS, errors[1:].tolist(), strict=True)),
                )

    def recent(self) -> list[RecentMetrics]:
        """The spans whose labels are not all in, and all of those together: see `late.recent`."""
        if not self._now[0]:
            return []
        return list(recent(self.spans, self.took, int(self._now[0]), self._budget))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        return {name: part.copy() for name, part in (self._parts() | self._fixed).items()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        restore(self._parts(), self._fixed, state, "performance monitor")
        self.reference.refit()

    def _parts(self) -> dict[str, npt.NDArray[Any]]:
        own = {"took": self.took, "errors": self.errors, "kept": self.kept, "now": self._now}
        return own | self.spans.parts() | self.reference.parts() | self.charts.parts()


def _even(metric: float) -> float:
    """Log-odds of a metric, whose noise is more even: a metric falls further than it rises."""
    return log_odds(min(max(metric, _SURE), 1.0 - _SURE))
