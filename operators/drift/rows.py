"""Rows of a sketch, each compared with its season: what watching inputs and scores share.

Each row is judged at three scales: a gross error is told within a burst of events, a small shift by
a day or a week. At each closing the rows are tested together (Benjamini and Hochberg 1995), at the
part of the stated run length that falls to it. A row that changed stays changed until a whole day
(where a week told it, a week) is as it was, and rows that change within a week of an alarm belong
to it: one change is one alarm.

While a row is changed it adds nothing to its reference. What has lasted `adopt` is the new normal:
its part in the alarm is over, and its reference is learnt anew from there.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.drift.alarm import Finding, Kind
from operators.drift.bucket import Bucket
from operators.drift.burst import OF_SHARES, PART, SUSPECT, burst, table_of
from operators.drift.hysteresis import Changed
from operators.drift.judging import SCHEMA, SHAPE, SHARE
from operators.drift.scales import (
    BURST,
    CERTAIN,
    DAILY,
    MEASURES,
    WEEKLY,
    Measure,
    Scales,
)
from operators.drift.season import MONDAY, WEEK, Reference, Season
from operators.drift.sketch import Sketch, quantile
from streams.errors import ConfigError, StateError
from streams.schema import DAY, duration_us

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

_PART = (1 - PART) / 2
"""Of false alarms those of days, and of weeks."""


class Rows(ABC):
    """Rows of a sketch, each compared with its season."""

    kinds: tuple[Kind, Kind, Kind]
    """What a change of each statistic is: shape, share of flagged values, schema."""
    share_detector: str

    def __init__(
        self,
        measures: Sequence[Measure],
        *,
        apart: bool,
        reference: Reference,
        weeks: int,
        settle_us: Sequence[int],
        bucket: str,
        run_length: str,
        adopt: str,
        seed: int,
    ) -> None:
        for measure in measures:
            if measure not in MEASURES:
                raise ConfigError(f"measure: wanted one of {', '.join(MEASURES)}; got {measure!r}")
        self.measures = tuple(measures)
        rows = len(measures)
        bucket_us = duration_us(bucket)
        self.season = Season(np.array(settle_us, np.int64), bucket_us, weeks, reference, seed)
        codes = np.array([MEASURES.index(each) for each in measures], np.int8)
        self.scales = Scales(codes, apart=apart)
        self.changed = Changed(self.kinds, rows)
        self._levels = np.empty(2)
        self._table, *self._held = table_of(
            self.season, self.scales, self.changed.rows, self._levels
        )
        self.run_length_us, self.adopt_us = duration_us(run_length), duration_us(adopt)
        self._definition = hashlib.blake2b(
            repr((
                type(self).__name__, self.measures, reference, weeks, tuple(settle_us), bucket,
                run_length, adopt, seed, self._about(),
            )).encode(),
            digest_size=16,
        ).digest()  # fmt: skip

    @abstractmethod
    def _about(self) -> object:
        """What else the state is of."""

    @abstractmethod
    def _named(self, rows: Int64s) -> dict[str, Any]:
        """Rows, most changed first, as a finding names them."""

    def _value(self, counted: float) -> float:
        """A value as it is told, of one as it is counted."""
        return counted

    def _close(self, bucket: Bucket, sketch: Sketch, flagged: Int64s) -> list[Finding]:
        scales, season, end = self.scales, self.season, bucket.end_us
        if season.stale(bucket.start_us):
            season.move(bucket.start_us, self.changed.rows)
        day = end // DAY != bucket.start_us // DAY
        came = burst(
            self._table, sketch.counts, sketch.blocks, flagged, bucket.start_us, end,
            season.slot_us, self.run_length_us, day, scales.apart,
        )  # fmt: skip
        found: list[Finding] = []
        if came == SUSPECT:
            found += self._told(BURST, self._levels, bucket, sketch)
            scales.close(BURST, end, self.changed.rows, self.changed.until(BURST))
        if day:
            found += self._window(DAILY, bucket, sketch)
            if (end + MONDAY) // WEEK != (bucket.start_us + MONDAY) // WEEK:
                found += self._window(WEEKLY, bucket, sketch)
            found += self._adopt(end)
            scales.calibrate()
        return found

    def _window(self, scale: int, bucket: Bucket, sketch: Sketch) -> list[Finding]:
        """Judge the day or week that ends with this bucket, and close it."""
        scales, changed = self.scales, self.changed
        part = _PART * (bucket.end_us - scales.start_us[scale]) / self.run_length_us
        levels = self._levels
        levels[SHARE] = part * OF_SHARES
        levels[SHAPE] = part - levels[SHARE] * scales.shares[scale]
        suspect = scales.judge(scale, changed.rows, levels)
        found: list[Finding] = []
        if changed.any:
            changed.calm(scale, scales.p, int(scales.start_us[scale]))
            found += self._over()
            changed.again(scale, scales.p, levels)
        if suspect:
            found += self._told(scale, levels, bucket, sketch)
        scales.close(scale, bucket.end_us, changed.rows, changed.until(scale))
        return found

    def _told(self, scale: int, levels: Floats, bucket: Bucket, sketch: Sketch) -> list[Finding]:
        """Test all rows of a window together; what is new of it."""
        p, found = self.scales.p, []
        for statistic in (SCHEMA, SHARE, SHAPE):
            if statistic == SCHEMA:
                told, level = p[SCHEMA] == 0.0, 0.0
            else:
                live = self.scales.unit[scale, statistic] >= CERTAIN
                tests = max(1, int((live & (p[statistic] <= 1)).sum()))
                told = rejected(p[statistic], levels[statistic], tests)
                level = float(levels[statistic]) * int(told.sum()) / tests
            rows = np.flatnonzero(told & ~self.changed.rows)
            if len(rows):
                found += self._raise(statistic, scale, rows, level, bucket, sketch)
        return found

    def _raise(
        self,
        statistic: int,
        scale: int,
        rows: Int64s,
        level: float,
        bucket: Bucket,
        sketch: Sketch,
    ) -> list[Finding]:
        scales, changed = self.scales, self.changed
        shape = SHARE if statistic == SHARE else SHAPE
        rows = rows[np.argsort(-scales.sizes[shape, rows], kind="stable")]
        first = int(rows[0])
        changed.since_us[statistic, rows] = scales.since(scale, shape, first)
        if statistic == SCHEMA:
            changed.size[statistic, rows] = [scales.strange(scale, int(row)) for row in rows]
            changed.threshold[statistic, rows] = 0.5
        else:
            changed.size[statistic, rows] = scales.sizes[shape, rows]
            changed.threshold[statistic, rows] = scales.told_from(shape, scale, first, level)
        # A part of an open alarm is named when that is over.
        if not changed.join(statistic, rows, max(scale, DAILY), bucket.end_us, WEEK):
            return []
        evidence = scales.figures(scale, first) | {
            "p": float(scales.p[statistic, first]),
            "median before": self._value(quantile(self.season.fine[first], 0.5)),
            "median now": self._value(quantile(sketch.counts[first], 0.5)),
        }
        told = {name: figure for name, figure in evidence.items() if not np.isnan(figure)}
        return [self._finding(statistic, rows, told, over=False)]

    def _finding(
        self, statistic: int, rows: Int64s, evidence: dict[str, float], *, over: bool
    ) -> Finding:
        first = int(rows[0])
        earliest = int(rows[self.changed.joined_us[statistic, rows].argmin()])
        detectors = (self.measures[first], self.share_detector, "schema")
        return Finding(
            kind=self.kinds[statistic],
            detector=detectors[statistic],
            since_us=int(self.changed.since_us[statistic, earliest]),
            size=float(self.changed.size[statistic, first]),
            threshold=float(self.changed.threshold[statistic, first]),
            evidence=evidence,
            over=over,
            **self._named(rows),
        )

    def _over(self, **evidence: float) -> list[Finding]:
        return [
            self._finding(statistic, rows, evidence, over=True)
            for statistic, rows in self.changed.finished()
        ]

    def _adopt(self, now_us: int) -> list[Finding]:
        """What has been different for long is learnt anew."""
        old = self.changed.end_older(now_us - self.adopt_us)
        if not old.any():
            return []
        for row in np.flatnonzero(old.any(axis=0)):
            self.season.relearn(int(row), now_us)
            self.scales.forget(int(row))
        return self._over(adopted=1.0)

    def _parts(self) -> dict[str, npt.NDArray[Any]]:
        return {
            **self.season.parts(),
            **self.scales.parts(),
            **{f"changed_{name}": part for name, part in self.changed.parts().items()},
        }

    @property
    def nbytes(self) -> int:
        """How large the state is, whatever comes."""
        return sum(part.nbytes for part in self._parts().values())

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """A copy of everything kept."""
        kept = {name: part.copy() for name, part in self._parts().items()}
        return {"definition": np.frombuffer(self._definition, np.uint8).copy(), **kept}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a `state()` to the bit; StateError where it is of another configuration."""
        if "definition" not in state or state["definition"].tobytes() != self._definition:
            raise StateError(
                f"{type(self).__name__}: the state is of one with other inputs or settings; "
                "give those, or start anew"
            )
        for name, part in self._parts().items():
            part[...] = state[name]
        self.changed.refresh()
        self.season.refresh()


def rejected(p: Floats, level: float, tests: int) -> npt.NDArray[np.bool_]:
    """Which of p (NaN: none) Benjamini and Hochberg's procedure rejects."""
    order = np.argsort(p, kind="stable")
    within = np.flatnonzero(p[order] <= level * np.arange(1, len(p) + 1) / tests)
    rejected = np.zeros(len(p), np.bool_)
    if len(within):
        rejected[order[: within[-1] + 1]] = True
    return rejected
