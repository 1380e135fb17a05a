"""How unlike its season a stream is over a burst of events, a day, a week; how rare that is.

Distances of counts from what was expected grow with chance, and with all that makes events of a
day alike: customers who come again, means of 30 days that move slowly. So each row's distances at
each scale, per degree of freedom and event, are kept, and their mean is the unit in which the next
is measured. That is the overdispersion of Rao and Scott (1981), from a row's own past in place of a
design. Its tail is that of a chi-squared number with the first three moments of theirs, which the
covariance of the row's deviations gives (Imhof 1961); or of F, as the unit is only estimated, from
fewer windows the more those that follow each other are alike.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from operators.drift.judging import FLOORS, SHAPE, SHARE, calibrate, end, judge, shape, tail
from operators.drift.season import COLUMNS, FLAGGED, GROUPS, NOVEL, WHOLE
from streams.schema import DAY

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Measure = Literal["js", "psi", "ks", "chi2"]
MEASURES: tuple[str, ...] = get_args(Measure)
BURST, DAILY, WEEKLY = range(3)
BURST_EVENTS = 128
"""A burst is whole buckets with at least so many events, within a day."""
KEPT = (672, 112, 52)
"""Distances that are kept of each scale."""
_FROM = (0, KEPT[0], KEPT[0] + KEPT[1])
NEEDED = (24, 14, 4)
"""Distances without which nothing is judged."""
CERTAIN = 0.05
"""A row with a mean distance below this is decided by the hour alone: not one of many tests."""


class Scales:
    """Windows of three lengths over F rows, and their distances so far."""

    def __init__(self, measures: npt.NDArray[np.int8], *, apart: bool) -> None:
        rows = len(measures)
        self.measures, self.apart = measures, apart
        self.seen, self.wanted = np.zeros((2, 3, rows, COLUMNS))
        self.only = np.full((3, rows), -1, np.int64)
        self.start_us = np.zeros(3, np.int64)
        self.history = np.full((sum(KEPT), 2, rows), np.nan)
        """(kept of each scale, statistic, row) distances per degree of freedom; NaN: none."""
        self.began_us = np.zeros(KEPT[BURST], np.int64)
        """When each burst in the history did."""
        self.told = np.zeros(3, np.int64)
        """Windows so far."""
        self.unit = np.full((3, 2, rows), np.nan)
        """Mean distances; NaN where they are too few."""
        self.known = np.zeros((3, 2, rows))
        """From how many independent ones."""
        self.spread = np.zeros((3, rows, GROUPS, GROUPS))
        """Sums of products of deviations of groups, older ones forgotten as from the history."""
        self.weight = np.zeros((3, 3, rows))
        """Of those, the sums of weights, of their squares, and of the events of windows."""
        self.moments = np.ones((3, 4, rows))
        self.moments[:, 2] = 0
        """Second and third moment of a distance of mean 1, by which its tail goes; what events have
        in common, which adds that much to a distance by event beside 1; their usual number.
        """
        self.p = np.empty((3, rows))
        self.sizes = np.empty((2, rows))
        self.shares = np.zeros(3)
        """1 where a scale has rows of which some values are flagged, else 0."""
        self.distances = np.empty((2, rows))
        """Of the window judged last."""
        self._windows = list(zip(self.seen, self.wanted, self.only, strict=True))
        self._known = list(zip(self.unit, self.known, self.moments, strict=True))
        self._past = list(
            zip(self.spread.reshape(3, rows, GROUPS * GROUPS), self.weight, strict=True)
        )

    def parts(self) -> dict[str, npt.NDArray[np.generic]]:
        """All that changes, by name."""
        windows = ("seen", "wanted", "only", "start_us", "told")
        past = ("history", "began_us", "unit", "known", "spread", "weight", "moments", "shares")
        return {name: getattr(self, name) for name in (*windows, *past)}

    def judge(self, scale: int, changed: Bools, levels: Floats) -> bool:
        """Put (3, F) `p` by statistic, NaN where nothing is judged, and (2, F) `sizes` of a window.

        Changed rows are judged by the unit of bursts where a longer scale has none. Of a burst, a p
        above 1e-3 may be given as 1. That of schema is 0 where most values were never seen before
        or a row that varied has one value only, else 1. Returns whether a row not changed may be
        told, at levels (2,) of shape and share.
        """
        unit, known, moments = self._known[scale]
        if scale != BURST and changed.any():
            borrowed = np.isnan(unit) & changed
            unit = np.where(borrowed, self.unit[BURST], unit)
            known = np.where(borrowed, self.known[BURST], known)
        return bool(
            judge(
                *self._windows[scale], self.measures, unit, known, moments, scale == BURST,
                self.apart, changed, levels, self.p, self.sizes, self.distances,
            )
        )  # fmt: skip

    def told_from(self, statistic: int, scale: int, row: int, level: float) -> float:
        """From what size on a row's distance would have been told at this level."""
        measure = int(self.measures[row]) if statistic == SHAPE else 0
        unit = float(self.unit[scale, statistic, row])
        if np.isnan(unit):
            return float("nan")
        floor = FLOORS[2] if statistic == SHARE else FLOORS[int(measure == 2)]
        freedom = second = third = 1.0
        if statistic == SHAPE:
            freedom = max(1.0, (self.wanted[scale, row, :GROUPS] >= 0.5).sum() - 1.0)
            second, third = self.moments[scale, :2, row].tolist()
        known = float(self.known[scale, statistic, row])
        low, high = 0.0, 1e6
        while high - low > 1e-3:
            middle = (low + high) / 2
            rare = tail(measure, middle, freedom, second, third, known) <= level
            low, high = (low, middle) if rare else (middle, high)
        root = 0.5 if measure == 2 or statistic == SHARE else 1.0
        distance = float(self.distances[statistic, row])
        over = high * max(unit, floor) / distance if distance > 0 else np.nan
        return float(self.sizes[statistic, row] * over**root)

    def strange(self, scale: int, row: int) -> float:
        """Of a row's values, those in bins where none had been; 1 where all are in one bin."""
        n = float(self.seen[scale, row, :GROUPS].sum())
        return 1.0 if self.only[scale, row] >= 0 else float(self.seen[scale, row, NOVEL]) / n

    def figures(self, scale: int, row: int) -> dict[str, float]:
        """Of how many events a row is, what share is flagged, was to be, and is of new bins."""
        seen, wanted = self.seen[scale, row], self.wanted[scale, row]
        flagged = "missing" if self.apart else "high"
        return {
            "events": float(seen[WHOLE]),
            f"share {flagged} before": float(wanted[FLAGGED] / seen[WHOLE]),
            f"share {flagged} now": float(seen[FLAGGED] / seen[WHOLE]),
            "share in new bins": float(seen[NOVEL] / seen[WHOLE]),
        }

    def close(self, scale: int, end_us: int, changed: Bools, alone: Bools) -> None:
        """End the window judged last: keep distances of rows not changed.

        It is added to the next scale, but for rows whose change is to end with such a window.
        """
        place = int(self.told[scale]) % KEPT[scale]
        longer = min(scale + 1, WEEKLY)
        end(
            *self._windows[scale], *self._windows[longer], scale == WEEKLY,
            self.distances, changed, alone, 1.0 - 1.0 / KEPT[scale],
            self.history[_FROM[scale] + place], *self._past[scale],
        )  # fmt: skip
        if scale == BURST:
            self.began_us[place] = self.start_us[scale]
        self.told[scale] += 1
        self.start_us[scale] = end_us

    def calibrate(self) -> None:
        """Take the units anew from what is kept."""
        for scale in range(3):
            kept = self.history[_FROM[scale] : _FROM[scale] + KEPT[scale]]
            told = int(self.told[scale])
            oldest = told % KEPT[scale] if told >= KEPT[scale] else 0
            calibrate(kept, oldest, NEEDED[scale], self.unit[scale], self.known[scale])
            self.shares[scale] = (self.unit[scale, SHARE] >= CERTAIN).any()
            shape(
                self.spread[scale], self.weight[scale], self.known[scale, SHAPE],
                self.moments[max(scale - 1, 0)], scale, self.moments[scale],
            )  # fmt: skip

    def forget(self, row: int) -> None:
        """Begin a row anew."""
        self.seen[:, row] = self.wanted[:, row] = 0
        self.only[:, row] = -1
        self.history[:, :, row] = np.nan
        self.unit[:, :, row] = np.nan
        self.spread[:, row] = self.weight[:, :, row] = 0

    def since(self, scale: int, statistic: int, row: int) -> int:
        """From which burst on distances are larger, at most one window before this one.

        Where bursts before and after differ most, by least squares.
        """
        told, start = int(self.told[BURST]), int(self.start_us[scale])
        order = np.arange(max(0, told - KEPT[BURST]), told) % KEPT[BURST]
        length = int(self.start_us[BURST]) - start if scale else DAY // 24
        order = order[self.began_us[order] >= start - length]
        began = self.began_us[order]
        distances = self.history[order, statistic, row]
        if scale == BURST:
            began = np.append(began, start)
            distances = np.append(distances, self.distances[statistic, row])
        began, distances = began[~np.isnan(distances)], distances[~np.isnan(distances)]
        if len(began) < 2:
            return start
        before = np.arange(1, len(began))
        sums = distances.cumsum()
        after = len(began) - before
        apart = (sums[-1] - sums[:-1]) / after - sums[:-1] / before
        gain = np.where(apart > 0, apart * apart * before * after, 0.0)
        return int(began[1 + gain.argmax()]) if gain.any() else int(began[0])
