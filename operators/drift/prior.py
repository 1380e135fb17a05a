"""Whether frauds have become more or fewer: at once by the scores, later by the labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.state import restore
from operators.drift.alarm import Finding
from operators.drift.bucket import Bucket, Scope
from operators.drift.chart import EarlyAndLate, Signal
from operators.drift.reference import Reference
from operators.drift.shares import Estimate, chances, log_odds
from operators.drift.spans import EVENTS, Rows, Spans, span_of
from streams.schema import duration_us

_NORMAL = 1.96
_TOGETHER = 0.85
"""Scores and labels are of the same frauds, so two charts of a row err together: as often as 1.7
that know nothing of each other (measured)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Positives:
    """Tells when the share of frauds moves, of all events or of a value of a slice.

    Events are taken in spans of event time. Before labels come, the share of a span is the one that
    explains its scores best, frauds and genuine events looking as they did in the reference; where
    no share does (events have changed, not only their mixture), nothing is said until labels come.
    When a span is older than the maturity its labels tell. A false alarm comes every `run_length`
    on average, of all rows together.

    The reference are the spans whose labels are in, from `settle` after the first version on: their
    weight halves in `reference`. A span in which fewer than `least` frauds are to be expected says
    nothing; choose a longer one.
    """

    span: str = "1d"
    run_length: str = "365d"
    reference: str = "28d"
    settle: str = "14d"
    least: float = 20.0

    def bind(self, scope: Scope) -> PriorMonitor:
        """One that has seen nothing."""
        return PriorMonitor(self, scope)


class PriorMonitor:
    """What `Positives` declares. State: 80 kB a row with spans of a day and a week's maturity."""

    def __init__(self, positives: Positives, scope: Scope) -> None:
        span_us = span_of(positives.span, scope.bucket)
        half_life = duration_us(positives.reference) / span_us
        run_length = duration_us(positives.run_length) / span_us
        settle_us = duration_us(positives.settle)
        self.spans = Spans(
            Rows(scope.slices), span_us, scope.maturity_us, all_labels=True, settle_us=settle_us
        )
        rows = len(self.spans.rows)
        self.reference = Reference(rows, half_life, positives.least)
        self.charts = EarlyAndLate(rows, run_length=_TOGETHER * run_length)
        self._least = positives.least
        settings = span_us, scope.maturity_us, run_length, half_life, settle_us, positives.least
        self._fixed = {"settings": np.array(settings, np.float64)}

    def close(self, bucket: Bucket) -> Sequence[Finding]:
        done, whole = self.spans.take(bucket)
        if len(bucket.late):
            self.reference.late(self.spans.rows.count(bucket.late))
        found = [finding for number in whole for finding in self._known(number)]
        return found + [finding for number in done for finding in self._estimated(number)]

    def _known(self, number: int) -> list[Finding]:
        """What the labels of a span say, which are all in."""
        counts = self.spans.of(number)
        labelled = self.reference.add(counts, settled=number >= self.spans.settled)
        genuine, frauds = labelled.sum(axis=2).T
        found = []
        for row, (k, others) in enumerate(zip(frauds.tolist(), genuine.tolist(), strict=True)):
            value = math.sqrt(k / (k + others)) if k >= self._least else math.nan
            signal = self.charts.take(row, value, number * self.spans.span_us, late=True)
            if signal:
                shares = {"before": signal.before**2, "now": signal.now**2}
                evidence = shares | {"events": float(k + others), "frauds": float(k)}
                found.append(self._finding(row, "rates", signal, evidence))
        return found

    def _estimated(self, number: int) -> list[Finding]:
        """What the scores of a span say."""
        counts = self.spans.of(number)
        found = []
        for row in range(len(self.spans.rows)):
            events = counts[row, EVENTS].astype(np.float64)
            estimate = self.reference.estimate(row, events)
            if estimate is None:
                continue
            fits = self.reference.fits(row, estimate) and self.reference.settled(row)
            usual = chances(np.array(log_odds(estimate.share) - estimate.shift))
            value = math.sqrt(estimate.share) - math.sqrt(usual) if fits else math.nan
            signal = self.charts.take(row, value, number * self.spans.span_us, late=False)
            if signal:
                evidence = self._evidence(row, estimate, float(events.sum()))
                found.append(self._finding(row, "em", signal, evidence))
        return found

    def _evidence(self, row: int, estimate: Estimate, events: float) -> dict[str, float]:
        """Of the last span, beside the reference; see `shares.corrected` for the `log_odds`."""
        z, shift = log_odds(estimate.share), estimate.shift
        wide = _NORMAL * estimate.deviation * self.reference.spread(row)
        low, high = chances(np.array([z - wide, z + wide])).tolist()
        return {
            "before": float(chances(np.array(z - shift))),
            "now": estimate.share,
            "low": low,
            "high": high,
            "black_box": estimate.black_box,
            "misfit": estimate.misfit,
            "events": events,
            "log_odds": shift,
        }

    def _finding(
        self, row: int, detector: str, signal: Signal, evidence: dict[str, float]
    ) -> Finding:
        name, value = self.spans.rows.names[row]
        return Finding(
            kind="prior",
            detector=detector,
            since_us=signal.since_us,
            size=signal.size,
            threshold=self.charts.threshold,
            slice=name,
            value=value,
            evidence=evidence,
            over=signal.over,
        )

    def state(self) -> dict[str, npt.NDArray[Any]]:
        return {name: part.copy() for name, part in (self._parts() | self._fixed).items()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        restore(self._parts(), self._fixed, state, "prior monitor")
        self.reference.refit()

    def _parts(self) -> dict[str, npt.NDArray[Any]]:
        return self.spans.parts() | self.reference.parts() | self.charts.parts()
