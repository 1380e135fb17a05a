"""How unlike its season a stream is, over a burst of events, a day and a week; and how rare that is.

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

from operators.drift.distance import chi2, js, ks, psi
from operators.drift.season import COLUMNS, FLAGGED, GROUPS, NOVEL, SPREAD, WHOLE
from operators.drift.tails import f_tail, ks_tail
from streams.jit import kernel
from streams.schema import DAY

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Measure = Literal["js", "psi", "ks", "chi2"]
MEASURES: tuple[str, ...] = get_args(Measure)
BURST, DAILY, WEEKLY = range(3)
BURST_EVENTS = 128
"""A burst is whole buckets with at least so many events, within a day."""
LEAST = 64
"""Of fewer events than these nothing is said."""
KEPT = (672, 56, 26)
"""Distances that are kept of each scale."""
_FROM = (0, 672, 728)
NEEDED = (24, 6, 3)
"""Distances without which nothing is judged."""
_FLOORS = (0.25, 0.05, 1.0)
"""Least overdispersion: of shapes, of KS, whose mean is below 1, and of shares of flagged events."""
CERTAIN = 0.05
"""A row with a mean distance below this is decided by the hour alone: not one of many tests."""
SHAPE, SHARE, SCHEMA = range(3)


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
        self.weight = np.zeros((3, 2, rows))
        """Of those, the sum of weights and that of their squares."""
        self.moments = np.ones((3, 2, rows))
        """Second and third moment of a distance as of independent parts of a sum of 1."""
        self._distances = np.empty((2, rows))
        """Of the window judged last."""

    def parts(self) -> dict[str, npt.NDArray[np.generic]]:
        """All that changes, by name."""
        names = ("seen", "wanted", "only", "start_us", "history", "began_us", "told")
        names += ("unit", "known", "spread", "weight", "moments")
        return {name: getattr(self, name) for name in names}

    def judge(self, scale: int, changed: Bools, *, screened: bool) -> tuple[Floats, Floats]:
        """(3, F) p by statistic, NaN where nothing is judged, and (2, F) sizes.

        Changed rows are judged by the unit of bursts where a longer scale has none. Screened, a p
        above 1e-3 may be given as 1. That of schema is 0 where most values were never seen before
        or a row that varied has one value only, else 1.
        """
        unit, known = self.unit[scale], self.known[scale]
        borrowed = np.isnan(unit) & changed
        if borrowed.any():
            unit = np.where(borrowed, self.unit[BURST], unit)
            known = np.where(borrowed, self.known[BURST], known)
        p = np.empty((3, len(changed)))
        sizes = np.empty((2, len(changed)))
        _judge(
            self.seen[scale], self.wanted[scale], self.only[scale], self.measures,
            unit, known, self.moments[scale], screened, self.apart, p, sizes, self._distances,
        )  # fmt: skip
        return p, sizes

    def told_from(self, statistic: int, scale: int, row: int, level: float, sizes: Floats) -> float:
        """From what size on a row's distance would have been told, at this level, there and then."""
        measure = int(self.measures[row]) if statistic == SHAPE else 0
        unit = float(self.unit[scale, statistic, row])
        if np.isnan(unit):
            return float("nan")
        floor = _FLOORS[2] if statistic == SHARE else _FLOORS[int(measure == 2)]
        freedom = second = third = 1.0
        if statistic == SHAPE:
            freedom = max(1.0, (self.wanted[scale, row, :GROUPS] >= 0.5).sum() - 1.0)
            second, third = self.moments[scale, :, row].tolist()
        known = float(self.known[scale, statistic, row])
        low, high = 0.0, 1e6
        while high - low > 1e-3:
            middle = (low + high) / 2
            rare = tail(measure, middle, freedom, second, third, known) <= level
            low, high = (low, middle) if rare else (middle, high)
        root = 0.5 if measure == 2 or statistic == SHARE else 1.0
        distance = float(self._distances[statistic, row])
        over = high * max(unit, floor) / distance if distance > 0 else np.nan
        return float(sizes[statistic, row] * over**root)

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

        It is added to the next scale, but for rows whose change is to end with a window of this one.
        """
        place = self.told[scale] % KEPT[scale]
        self.history[_FROM[scale] + place] = np.where(changed, np.nan, self._distances)
        _spread(
            self.seen[scale], self.wanted[scale], self.history[_FROM[scale] + place, SHAPE],
            1.0 - 1.0 / KEPT[scale], self.spread[scale], self.weight[scale],
        )  # fmt: skip
        if scale == BURST:
            self.began_us[place] = self.start_us[scale]
        self.told[scale] += 1
        if scale < WEEKLY:
            added = ~alone
            self.seen[scale + 1, added] += self.seen[scale, added]
            self.wanted[scale + 1, added] += self.wanted[scale, added]
            longer, only = self.only[scale + 1], np.where(alone, -1, self.only[scale])
            same = (longer == -1) | (only == -1) | (longer == only)
            longer[...] = np.where(same, np.where(longer == -1, only, longer), -2)
        self.seen[scale] = self.wanted[scale] = 0
        self.only[scale] = -1
        self.start_us[scale] = end_us

    def calibrate(self) -> None:
        """Take the units anew from what is kept."""
        for scale in range(3):
            kept = self.history[_FROM[scale] : _FROM[scale] + KEPT[scale]]
            if self.told[scale] >= KEPT[scale]:
                kept = np.roll(kept, -int(self.told[scale]) % KEPT[scale], axis=0)
            kept = np.ascontiguousarray(kept)
            _calibrate(kept, NEEDED[scale], self.unit[scale], self.known[scale])
            _shape(
                self.spread[scale], self.weight[scale], self.known[scale, SHAPE],
                self.moments[max(scale - 1, 0)], scale == BURST, self.moments[scale],
            )  # fmt: skip

    def forget(self, row: int) -> None:
        """Begin a row anew."""
        self.seen[:, row] = self.wanted[:, row] = 0
        self.only[:, row] = -1
        self.history[:, :, row] = np.nan
        self.unit[:, :, row] = np.nan
        self.spread[:, row] = self.weight[:, :, row] = 0

    def since(self, scale: int, statistic: int, row: int) -> int:
        """From which burst on distances are above what is usual, at most one window before this one.

        Where their sum less a usual one each is least, as with Page's cumulated sums (1954).
        """
        told, start = int(self.told[BURST]), int(self.start_us[scale])
        order = np.arange(max(0, told - KEPT[BURST]), told) % KEPT[BURST]
        length = int(self.start_us[BURST]) - start if scale else DAY // 24
        order = order[self.began_us[order] >= start - length]
        began = self.began_us[order]
        distances = self.history[order, statistic, row]
        if scale == BURST:
            began = np.append(began, start)
            distances = np.append(distances, self._distances[statistic, row])
        if not len(began):
            return start
        excess = np.nan_to_num(distances - self.unit[BURST, statistic, row])
        return int(began[np.append(0.0, excess.cumsum()[:-1]).argmin()])


@kernel("float64(int64, float64[::1], float64[::1])")
def measured(measure: int, p: Floats, q: Floats) -> float:
    """The distance of that place in MEASURES."""
    if measure == 0:
        return js(p, q)
    if measure == 1:
        return psi(p, q)
    if measure == 2:
        return ks(p, q)
    return chi2(p, q)


@kernel("float64(int64, float64, float64)")
def normed(measure: int, size: float, variance: float) -> float:
    """A distance as about a chi-squared number: all are of its kind near 0, Kolmogorov's squared.

    `variance`: 1 / n + 1 / m.
    """
    if measure == 0:
        return 8.0 * size / variance
    if measure == 1:
        return size / variance
    if measure == 2:
        return size * size / variance
    return 4.0 * size / variance


@kernel("float64(int64, float64, float64, float64, float64, float64)")
def tail(  # type: ignore[no-untyped-def]
    measure, x, freedom, second, third, known
):
    """How rarely a distance is x times its mean, which so many windows are known of.

    Kolmogorov's is that of a bridge, or of the same moments where events are alike in few ways.
    """
    degrees = second**3 / (third * third)
    reach = degrees + (x - 1.0) * np.sqrt(degrees / second)
    p = f_tail(reach / degrees, degrees, max(known / second, 1.0))
    if measure == 2:
        p = max(p, ks_tail(x, freedom, 5.0 * known))
    return p


@kernel("float64(int64, float64, float64, float64, float64, float64, float64, float64, boolean)")
def _rare(  # type: ignore[no-untyped-def]
    measure, distance, freedom, second, third, unit, known, floor, screened
):
    """The p of a distance; 1 where it is certainly above 1e-3 and no matter."""
    if np.isnan(unit):
        return np.nan
    x = distance / max(unit, floor)
    if screened and x < 1.0 + 9.8 / freedom**0.75:
        return 1.0
    return tail(measure, x, freedom, second, third, known)


@kernel(
    "void(float64[:, ::1], float64[:, ::1], int64[::1], int8[::1], float64[:, ::1],"
    " float64[:, ::1], float64[:, ::1], boolean, boolean, float64[:, ::1], float64[:, ::1], float64[:, ::1])"
)
def _judge(  # type: ignore[no-untyped-def]
    seen, wanted, only, measures, unit, known, moments, screened, apart, p, sizes, distances
):
    two, other = np.empty(2), np.empty(2)
    p[:] = np.nan
    sizes[:] = 0.0
    distances[:] = np.nan
    for row in range(len(measures)):
        whole = seen[row, WHOLE]
        n = whole - seen[row, FLAGGED] if apart else whole
        if whole >= LEAST:
            two[0], two[1] = seen[row, FLAGGED], whole - seen[row, FLAGGED]
            other[0], other[1] = wanted[row, FLAGGED], whole - wanted[row, FLAGGED]
            sizes[SHARE, row] = abs(two[0] - other[0]) / whole
            variance = (1.0 + wanted[row, WHOLE] / whole) / whole
            distances[SHARE, row] = normed(0, js(two, other), variance)
            p[SHARE, row] = _rare(0, distances[SHARE, row], 1.0, 1.0, 1.0, unit[SHARE, row],
                                  known[SHARE, row], _FLOORS[2], screened)  # fmt: skip
        if n < LEAST:
            continue
        expected = freedom = 0.0
        single = False
        for place in range(GROUPS):
            expected += wanted[row, place]
            freedom += wanted[row, place] >= 0.5
        freedom = max(freedom - 1.0, 1.0)
        if not expected > 0.0:
            continue
        measure = measures[row]
        sizes[SHAPE, row] = measured(measure, seen[row, :GROUPS], wanted[row, :GROUPS])
        variance = (1.0 + wanted[row, SPREAD] / n) / n
        apart_by = normed(measure, sizes[SHAPE, row], variance)
        distances[SHAPE, row] = apart_by if measure == 2 else apart_by / freedom
        p[SHAPE, row] = _rare(measure, distances[SHAPE, row], freedom, moments[0, row],
                              moments[1, row], unit[SHAPE, row], known[SHAPE, row], _FLOORS[int(measure == 2)], screened)  # fmt: skip
        for place in range(GROUPS):
            usual = wanted[row, place] / expected
            single |= seen[row, place] == n and usual < 0.9
        strange = 2.0 * seen[row, NOVEL] > n or (single and only[row] >= 0)
        p[SCHEMA, row] = 0.0 if strange else 1.0


@kernel("void(float64[:, :, ::1], int64, float64[:, ::1], float64[:, ::1])")
def _calibrate(kept, needed, unit, known):  # type: ignore[no-untyped-def]
    """Mean distances, oldest first, and how many independent ones they are worth.

    Of m that follow each other with a correlation r between neighbours, m (1 - r) / (1 + r).
    """
    for statistic in range(kept.shape[1]):
        for row in range(kept.shape[2]):
            m = total = 0.0
            for at in range(len(kept)):
                if not np.isnan(kept[at, statistic, row]):
                    m += 1.0
                    total += kept[at, statistic, row]
            if m < needed:
                continue
            mean = total / m
            square = product = 0.0
            before = np.nan
            for at in range(len(kept)):
                away = kept[at, statistic, row] - mean
                if not np.isnan(away):
                    square += away * away
                    if not np.isnan(before):
                        product += away * before
                before = away
            alike = min(max(product / square, 0.0), 0.9) if square > 0.0 else 0.0
            unit[statistic, row] = mean
            known[statistic, row] = m * (1.0 - alike) / (1.0 + alike)


@kernel(
    "void(float64[:, ::1], float64[:, ::1], float64[::1], float64, float64[:, :, ::1],"
    " float64[:, ::1])"
)
def _spread(seen, wanted, kept, forget, spread, weight):  # type: ignore[no-untyped-def]
    """Add the products of deviations from what was expected, of rows whose distance is kept."""
    away = np.empty(GROUPS)
    for row in range(len(kept)):
        if np.isnan(kept[row]):
            continue
        n = 0.0
        for place in range(GROUPS):
            n += wanted[row, place]
        scale = 1.0 / np.sqrt(1.0 + wanted[row, SPREAD] / n)
        for place in range(GROUPS):
            expected = wanted[row, place]
            away[place] = scale * (seen[row, place] - expected) / np.sqrt(max(expected, 0.5))
        for left in range(GROUPS):
            for right in range(GROUPS):
                spread[row, left, right] = forget * spread[row, left, right] + (
                    away[left] * away[right]
                )
        weight[0, row] = forget * weight[0, row] + 1.0
        weight[1, row] = forget * forget * weight[1, row] + 1.0


_PRIOR = 10.0
"""Windows that the shorter scale's moments, or those of pure chance, count for."""


@kernel(
    "void(float64[:, :, ::1], float64[:, ::1], float64[::1], float64[:, ::1], boolean,"
    " float64[:, ::1])"
)
def _shape(spread, weight, known, shorter, shortest, moments):  # type: ignore[no-untyped-def]
    """The moments of weighted sums of chi-squared numbers whose covariance is estimated.

    Traces of its powers without bias, of m windows without a mean (Srivastava 2005); their ratios
    pulled to those of the shorter scale.
    """
    for row in range(len(known)):
        one = two = three = held = 0.0
        for i in range(GROUPS):
            one += spread[row, i, i]
            held += spread[row, i, i] > 0.0
        if not one > 0.0:
            continue
        for i in range(GROUPS):
            for j in range(GROUPS):
                both = 0.0
                for k in range(GROUPS):
                    both += spread[row, i, k] * spread[row, k, j]
                two += spread[row, i, j] * spread[row, i, j]
                three += both * spread[row, i, j]
        two, three = two / one**2, three / one**3
        free = max(held - 1.0, 1.0)
        second, third = 1.0 / free, 1.0 / free**2
        if not shortest:
            second, third = shorter[0, row], shorter[1, row]
        m = min(weight[0, row] ** 2 / weight[1, row], known[row])
        if m > 4.0:
            above = m * m / ((m - 1.0) * (m + 2.0)) * (two - 1.0 / m)
            cubed = m**4 / ((m - 1.0) * (m - 2.0) * (m + 2.0) * (m + 4.0))
            cubed *= three - 3.0 / m * two + 2.0 / (m * m)
            part = m / (m + _PRIOR)
            second += part * (min(max(above, 1.0 / free), 1.0) - second)
            third += part * (min(max(cubed, 1.0 / free**2), 1.0) - third)
        moments[0, row] = second
        moments[1, row] = min(max(third, second * second), second**1.5)
