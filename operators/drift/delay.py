"""When labels come: whether they take longer than they did, and whether they have stopped.

How long labels take is not to be read from those that came: of a day with many frauds the quick
labels come first. Of the frauds of a day that are known by now, the share that became known within
the last span depends on delays alone, not on how many frauds there were. It is compared with what
that share was at the same age before (a log-rank test with time turned round), over all ages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.state import restore
from operators.drift.alarm import Finding
from operators.drift.arrival import Delays
from operators.drift.bucket import Bucket, Scope
from operators.drift.chart import Chart, Signal
from operators.drift.spans import DELAYS, TOOK, Floats, Int64s, Rows, Spans
from operators.labels import BY_LABEL
from streams.jit import kernel
from streams.schema import duration_us

_WARM = 7
"""Spans with labels before it is said that they have stopped."""
_CELLS = 96
"""Of a span: whether labels come is counted by these."""
_LONGER = 1.5
_DAY_US = 86_400_000_000
LAST, CELL, BEGAN, HITS, CELLS, LONGEST, RAISED, MUTED = range(8)
"""Of a row: when its last label became known and in which cell, when its first; how many cells had
a label, of how many; the longest silence; whether one was told, and was in this span."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDelay:
    """Tells when labels come later or sooner than they did, and when they come no longer.

    That they have stopped is told once their silence is longer than chance makes it at the rate of
    late; where they are known to come at certain hours alone, once it is half as long again as the
    longest so far. That delays have moved is told at the end of a span, where at least `least` of
    its labels or so were to be expected. Of either a false alarm comes every 2 `run_length` spans
    on average, of both together every `run_length`, of all rows. What is usual is of the last
    spans: their weight halves in `reference`.
    """

    span: str = "1d"
    run_length: float = 365.0
    reference: str = "28d"
    least: float = 20.0

    def bind(self, scope: Scope) -> LabelDelayMonitor:
        """One that has seen nothing."""
        return LabelDelayMonitor(self, scope)


class LabelDelayMonitor:
    """What `LabelDelay` declares. State: 75 kB a row with spans of a day and a week's maturity."""

    def __init__(self, delay: LabelDelay, scope: Scope) -> None:
        span_us = duration_us(delay.span)
        self.spans = Spans(Rows(scope.slices), span_us, scope.maturity_us)
        rows, half_life = len(self.spans.rows), duration_us(delay.reference) / span_us
        self.charts = Chart(rows, run_length=2 * delay.run_length)
        self.took = np.zeros((rows, DELAYS))
        self.silence = np.zeros((rows, 8))
        self.known = np.zeros((self.spans.held, rows), np.int64)
        """Frauds of each span that were known when the last span ended."""
        self.shares = np.zeros((2, rows, self.spans.held))
        """By age in spans: how many became known within the last one, of how many by its end."""
        self._rare = 2 * delay.run_length * rows
        self._fade, self._least = 0.5 ** (1.0 / half_life), delay.least
        settings = span_us, scope.maturity_us, delay.run_length, half_life, delay.least
        self._fixed = {"settings": np.array(settings, np.float64)}

    def close(self, bucket: Bucket) -> Sequence[Finding]:
        before = self.silence[:, LAST].copy()
        done, whole = self.spans.take(bucket)
        told = bucket.matured.cause == BY_LABEL
        rows = self.spans.rows
        _arrive(
            bucket.matured.known_us[told], bucket.matured.codes[told], rows.first, rows.sizes,
            self.spans.span_us // _CELLS, self.silence,
        )  # fmt: skip
        found = [f for row in range(len(rows)) for f in self._silent(row, bucket, before[row])]
        for number in whole:
            self.took *= self._fade
            self.took += self.spans.of(number)[:, TOOK]
        if done:
            found += self._moved(done, bucket.end_us)
        return found

    def _silent(self, row: int, bucket: Bucket, before: float) -> list[Finding]:
        """Whether a row's labels have stopped by a bucket's end, or come again."""
        own = self.silence[row]
        if not own[LAST]:
            return []
        cell_us = self.spans.span_us / _CELLS
        if own[RAISED]:
            if own[LAST] <= before:
                return []
            own[RAISED] = 0.0
            return [self._silence(row, own[LAST], (own[LAST] - before), np.nan, over=True)]
        own[CELLS] += (bucket.end_us - max(bucket.start_us, own[BEGAN])) / cell_us
        if own[CELLS] < _WARM * _CELLS or bucket.end_us - own[BEGAN] < _WARM * self.spans.span_us:
            return []
        gap, limit = bucket.end_us - own[LAST], self._limit(own, bucket)
        if gap < limit:
            return []
        own[RAISED] = own[MUTED] = 1.0
        return [self._silence(row, own[LAST], gap, limit, over=False)]

    def _limit(self, own: Floats, bucket: Bucket) -> float:
        """How long a silence is told of, in microseconds."""
        empty = max(1.0 - own[HITS] / own[CELLS], 1.0 / own[CELLS])
        rate = -math.log(empty) * _CELLS / self.spans.span_us
        length = bucket.end_us - bucket.start_us
        checks = self._rare * self.spans.span_us / length
        limit = math.log(max(checks * -math.expm1(-rate * length), math.e)) / rate
        return limit if own[LONGEST] <= limit else _LONGER * float(own[LONGEST])

    def _moved(self, done: list[int], now_us: int) -> list[Finding]:
        """Whether delays have moved, of the labels that came within the span that is over."""
        number, held = done[-1], self.spans.held
        ages = np.arange(held)
        places = (number - ages) % held
        known = self.spans.cells[places][:, :, TOOK].sum(axis=2)
        fresh = known - self.known[places]
        self.known[places] = known
        fresh[0] = known[0] = 0
        found = []
        for row in range(len(self.spans.rows)):
            own = self.silence[row]
            told = np.nan if own[MUTED] or len(done) > 1 else self._apart(row, fresh, known)
            own[MUTED] = own[RAISED]
            own[[HITS, CELLS, LONGEST]] *= self._fade
            signal = self.charts.take(row, told, number * self.spans.span_us)
            if signal:
                found.append(self._delay(row, signal, now_us))
        self.shares *= self._fade
        self.shares += np.stack([fresh.T, known.T])
        return found

    def _apart(self, row: int, fresh: Int64s, known: Int64s) -> float:
        """By how many deviations more labels are fresh than usual; nan of too few."""
        hits, of = self.shares[:, row]
        usual = of >= self._least
        share, n = hits[usual] / of[usual], known[usual, row].astype(np.float64)
        noise = float(np.sum(n * share * (1.0 - share) * (1.0 + n / of[usual])))
        if noise < self._least / 4:
            return math.nan
        return float(np.sum(fresh[usual, row] - n * share)) / math.sqrt(noise)

    def _silence(self, row: int, since: float, gap: float, limit: float, *, over: bool) -> Finding:
        own = self.silence[row]
        name, value = self.spans.rows.names[row]
        return Finding(
            kind="label delay",
            detector="silence",
            since_us=int(since),
            size=gap / _DAY_US,
            threshold=limit / _DAY_US,
            slice=name,
            value=value,
            evidence={"days": gap / _DAY_US, "longest_days": own[LONGEST] / _DAY_US},
            over=over,
        )

    def _delay(self, row: int, signal: Signal, now_us: int) -> Finding:
        name, value = self.spans.rows.names[row]
        numbers = np.arange(int(self.spans.clock[2]), self.spans.open + 1)
        took = self.spans.cells[numbers % self.spans.held, row, TOOK]
        age = now_us - (numbers + 1) * self.spans.span_us
        before, now = (
            Delays.of(whole, took[:last], age[:last]).median_us() / _DAY_US
            for whole, last in ((self.took[row], 0), (np.zeros(DELAYS), len(numbers)))
        )
        return Finding(
            kind="label delay",
            detector="log_rank",
            since_us=signal.since_us,
            size=signal.size,
            threshold=self.charts.threshold,
            slice=name,
            value=value,
            evidence={"before": before, "now": now, "deviations": signal.now},
            over=signal.over,
        )

    def state(self) -> dict[str, npt.NDArray[Any]]:
        return {name: part.copy() for name, part in (self._parts() | self._fixed).items()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        restore(self._parts(), self._fixed, state, "label delay monitor")

    def _parts(self) -> dict[str, npt.NDArray[Any]]:
        own = {"took": self.took, "silence": self.silence, "known": self.known}
        return own | {"shares": self.shares, "charts": self.charts.cells} | self.spans.parts()


@kernel("void(int64[::1], int64[:, ::1], int64[::1], int64[::1], int64, float64[:, ::1])")
def _arrive(known_us, codes, first, sizes, cell_us, silence):  # type: ignore[no-untyped-def]
    """Labels that became known, in order: what that says of each row's silences."""
    for i in range(len(known_us)):
        for column in range(-1, len(sizes)):
            row = 0
            if column >= 0:
                code = codes[i, column]
                if code < 0 or code >= sizes[column]:
                    continue
                row = first[column] + code
            own = silence[row]
            if own[LAST] == 0.0:
                own[BEGAN] = known_us[i]
                own[CELL] = -1.0
            elif own[RAISED] == 0.0:
                own[LONGEST] = max(own[LONGEST], known_us[i] - own[LAST])
            cell = known_us[i] // cell_us
            if cell != own[CELL]:
                own[CELL] = cell
                own[HITS] += 1.0
            own[LAST] = max(own[LAST], known_us[i])
