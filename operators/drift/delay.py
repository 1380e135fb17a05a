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
from operators.drift.spans import DELAYS, TOOK, Floats, Int64s, Rows, Spans, span_of
from operators.labels import BY_LABEL
from streams.jit import kernel
from streams.schema import DAY, duration_us

_WARM = 7
"""Spans with labels before it is said that they have stopped."""
_CELL_US, _PER_HOUR, _HOURS = DAY // 96, 4, 24
"""Whether labels come is counted by quarters of an hour, and each hour of the day has its rate."""
_LONGER = 1.5
_LONG, _BY_CHANCE = 2.0, 50.0
"""From how many labels on a silence is a long one; how many of these say beforehand that silences
are as long as chance makes them."""
LAST, CELL, BEGAN, LONGEST, RAISED, MUTED, COUNT, BEYOND = range(8)
"""Of a row: when its last label became known and in which cell, when its first; the longest
silence, in labels it should have had; when the one began that is told, 0 of none; whether one was
told in this span; how many long ones there were, and by how much they were longer, together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDelay:
    """Tells when labels come later or sooner than they did, and when they come no longer.

    That they have stopped is told once their silence is longer than chance makes it at the rates
    that hours of the day have had of late, where labels come in bursts as much longer as long
    silences there are on average; where one is known to be longer than that, once it is half as
    long again as the longest so far. That delays have moved is told at the end of a
    span, where at least `least` of its labels or so were to be expected. A false alarm of moved
    delays comes every 1.5 `run_length` on average, one of silence every 3 where labels come evenly,
    of both together every `run_length`, of all rows. What is usual is of the last spans: their
    weight halves in `reference`.
    """

    span: str = "1d"
    run_length: str = "365d"
    reference: str = "28d"
    least: float = 20.0

    def bind(self, scope: Scope) -> LabelDelayMonitor:
        """One that has seen nothing."""
        return LabelDelayMonitor(self, scope)


class LabelDelayMonitor:
    """What `LabelDelay` declares. State: 75 kB a row with spans of a day and a week's maturity."""

    def __init__(self, delay: LabelDelay, scope: Scope) -> None:
        span_us = span_of(delay.span, scope.bucket)
        run_length = duration_us(delay.run_length) / span_us
        self.spans = Spans(Rows(scope.slices), span_us, scope.maturity_us, all_labels=False)
        rows, half_life = len(self.spans.rows), duration_us(delay.reference) / span_us
        self.charts = Chart(rows, run_length=1.5 * run_length)
        self.took = np.zeros((rows, DELAYS))
        self.silence = np.zeros((rows, BEYOND + 1))
        self.hours = np.zeros((rows, 2, _HOURS))
        """How many cells had a label, of how many, by hour of the day."""
        self.known = np.zeros((self.spans.held, rows), np.int64)
        """Frauds of each span that were known when the last span ended."""
        self.shares = np.zeros((2, rows, self.spans.held))
        """By age in spans: how many became known within the last one, of how many by its end."""
        self._told = np.zeros((rows, 5))
        # Measured where labels come evenly: one in 3 run lengths.
        self._rare = 2 * run_length * rows
        self._fade, self._least = 0.5 ** (1.0 / half_life), delay.least
        settings = span_us, scope.maturity_us, run_length, half_life, delay.least
        self._fixed = {"settings": np.array(settings, np.float64)}

    def close(self, bucket: Bucket) -> Sequence[Finding]:
        done, whole = self.spans.take(bucket)
        told, rows = bucket.matured, self.spans.rows
        news = _arrive(
            told.known_us, told.cause, told.codes, rows.first, rows.sizes,
            bucket.start_us, bucket.end_us, self.spans.span_us, self._rare,
            self.silence, self.hours, self._told,
        )  # fmt: skip
        found = [self._silence(row) for row in np.flatnonzero(self._told[:, 0])] if news else []
        for number in whole:
            self.took *= self._fade
            self.took += self.spans.of(number)[:, TOOK]
        if done:
            found += self._moved(done, bucket.end_us)
        return found

    def _moved(self, done: list[int], now_us: int) -> list[Finding]:
        """Whether delays have moved, of the labels that came within the span that is over."""
        number, held = done[-1], self.spans.held
        ages = np.arange(held)
        places = (number - ages) % held
        known = self.spans.cells[:, :, TOOK].sum(axis=2)[places]
        fresh = known - self.known[places]
        self.known[places] = known
        fresh[0] = known[0] = 0
        found = []
        for row in range(len(self.spans.rows)):
            own = self.silence[row]
            told = np.nan if own[MUTED] or len(done) > 1 else self._apart(row, fresh, known)
            own[MUTED] = own[RAISED] > 0
            own[[LONGEST, COUNT, BEYOND]] *= self._fade
            self.hours[row] *= self._fade
            signal = self.charts.take(row, told, number * self.spans.span_us)
            if signal:
                found.append(self._delay(row, signal, now_us))
        self.shares *= self._fade
        self.shares[0] += fresh.T
        self.shares[1] += known.T
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

    def _silence(self, row: int) -> Finding:
        told, since, gap, missed, limit = self._told[row].tolist()
        name, value = self.spans.rows.names[row]
        return Finding(
            kind="label delay",
            detector="silence",
            since_us=int(since),
            size=missed,
            threshold=limit,
            slice=name,
            value=value,
            evidence={"days": gap / DAY, "longest": float(self.silence[row, LONGEST])},
            over=told < 0,
        )

    def _delay(self, row: int, signal: Signal, now_us: int) -> Finding:
        name, value = self.spans.rows.names[row]
        numbers = np.arange(int(self.spans.clock[2]), self.spans.open + 1)
        took = self.spans.cells[numbers % self.spans.held, row, TOOK]
        age = now_us - (numbers + 1) * self.spans.span_us
        before, now = (
            Delays.of(whole, took[:last], age[:last]).median_us() / DAY
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
        own = {"took": self.took, "silence": self.silence, "hours": self.hours, "known": self.known}
        return own | {"shares": self.shares, "charts": self.charts.cells} | self.spans.parts()


@kernel("float64(float64[:, ::1], int64, int64)")
def _missed(hours: Floats, since: int, until: int) -> float:
    """How many labels there should have been between two times: at most one a cell is counted."""
    total = 0.0
    for cell in range(since // _CELL_US, until // _CELL_US + 1):
        hour = cell // _PER_HOUR % _HOURS
        if hours[1, hour] > 0.0:
            inside = min(until, (cell + 1) * _CELL_US) - max(since, cell * _CELL_US)
            empty = max(1.0 - hours[0, hour] / hours[1, hour], 1.0 / (1.0 + hours[1, hour]))
            total -= np.log(empty) * inside / _CELL_US
    return total


@kernel(
    "int64(Array(int64, 1, 'A', readonly=True), Array(uint8, 1, 'A', readonly=True),"
    " Array(int64, 2, 'A', readonly=True), int64[::1], int64[::1], int64, int64, int64,"
    " float64, float64[:, ::1], float64[:, :, ::1], float64[:, ::1])"
)
def _arrive(  # type: ignore[no-untyped-def]
    known_us, cause, codes, first, sizes, start, end, span, rare, silence, hours, told
):
    """Labels of a bucket, in order: what that says of each row's silences; of how many is told.

    Of each row into `told`: 1 for a silence, -1 for the end of one; since when, how long, how many
    labels it should have had, and the limit.
    """
    for i in range(len(known_us)):
        if cause[i] != BY_LABEL:
            continue
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
            cell = known_us[i] // _CELL_US
            if cell != own[CELL]:
                if own[CELL] >= 0.0 and own[RAISED] == 0.0 and cell > own[CELL] + 1:
                    missed = _missed(hours[row], np.int64(own[LAST]), known_us[i])
                    own[LONGEST] = max(own[LONGEST], missed)
                    if missed > _LONG:
                        own[COUNT] += 1.0
                        own[BEYOND] += missed - _LONG
                own[CELL] = cell
                hours[row, 0, cell // _PER_HOUR % _HOURS] += 1.0
            own[LAST] = max(own[LAST], known_us[i])
    news = 0
    for row in range(len(silence)):
        own, said = silence[row], told[row]
        said[:] = 0.0
        if own[LAST] == 0.0:
            continue
        if own[RAISED] > 0.0:
            if own[LAST] > own[RAISED]:
                said[0], said[1], said[2] = -1.0, own[LAST], own[LAST] - own[RAISED]
                said[3] = _missed(hours[row], np.int64(own[RAISED]), np.int64(own[LAST]))
                own[RAISED] = 0.0
                news += 1
            continue
        begun = max(start, np.int64(own[BEGAN]))
        for cell in range(begun // _CELL_US, end // _CELL_US + 1):
            inside = min(end, (cell + 1) * _CELL_US) - max(begun, cell * _CELL_US)
            hours[row, 1, cell // _PER_HOUR % _HOURS] += max(inside, 0) / _CELL_US
        if end - own[BEGAN] < _WARM * span:
            continue
        missed = _missed(hours[row], np.int64(own[LAST]), end)
        checks, mean = rare * span / (end - start), hours[row, 0].sum() / hours[row, 1].sum()
        some = 1.0 - (1.0 - min(mean, 1.0)) ** ((end - start) / _CELL_US)
        limit = np.log(max(checks * some, np.e))
        # What is left of a silence by chance is one label on average, however long it has been.
        left = (own[BEYOND] + _BY_CHANCE) / (own[COUNT] + _BY_CHANCE)
        limit += max(limit - _LONG, 0.0) * (left - 1.0)
        if own[LONGEST] > limit:
            limit = _LONGER * own[LONGEST]
        if missed >= limit:
            said[0], said[1], said[2] = 1.0, own[LAST], end - own[LAST]
            said[3], said[4] = missed, limit
            own[RAISED], own[MUTED] = own[LAST], 1.0
            news += 1
    return news
