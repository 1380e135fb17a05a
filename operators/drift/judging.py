"""How rare distances from what was expected are: the kernels of `operators.drift.scales`."""

from __future__ import annotations

import numpy as np

from operators.drift.distance import chi2, js, ks, psi
from operators.drift.season import COLUMNS, FLAGGED, GROUPS, NOVEL, SPREAD, WHOLE
from operators.drift.tails import f_tail, ks_tail
from streams.jit import kernel

LEAST = 64
"""Of fewer events than these nothing is said."""
FLOORS = (0.25, 0.05, 1.0)
"""Least overdispersion: of shapes, of KS, whose mean is below 1, of shares of flagged ones."""
SHAPE, SHARE, SCHEMA = range(3)


@kernel("float64(int64, float64[::1], float64[::1])")
def measured(measure, p, q):  # type: ignore[no-untyped-def]
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


UNSURE = 8.0
"""Windows more that it takes to know the moments of one way only in which events are alike."""


@kernel("float64(int64, float64, float64, float64, float64, float64)")
def tail(  # type: ignore[no-untyped-def]
    measure, x, freedom, second, third, known
):
    """How rarely a distance is x times its mean, which so many windows are known of.

    Kolmogorov's is that of a bridge, or of the same moments where events are alike in few ways.
    The fewer they are, the less the moments are known by the same windows: what is above the mean
    counts for less, by a part that was found by drawing (docs/drift.md).
    """
    degrees = second**3 / (third * third)
    few = max(0.0, 1.0 - 1.0 / (second * freedom))
    x = 1.0 + (x - 1.0) * known / (known + UNSURE * few)
    reach = degrees + (x - 1.0) * np.sqrt(degrees / second)
    p = f_tail(reach / degrees, degrees, max(known * degrees, 1.0))
    if measure == 2:
        p = max(p, ks_tail(x, freedom, 5.0 * known))
    return p


@kernel("float64(int64, float64, float64, float64, float64, float64, float64, float64, boolean)")
def rare(  # type: ignore[no-untyped-def]
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
    "boolean(float64[:, ::1], float64[:, ::1], int64[::1], int8[::1], float64[:, ::1],"
    " float64[:, ::1], float64[:, ::1], boolean, boolean, boolean[::1], float64[::1],"
    " float64[:, ::1], float64[:, ::1], float64[:, ::1])"
)
def judge(  # type: ignore[no-untyped-def]
    seen, wanted, only, measures, unit, known, moments, screened, apart, changed, levels,
    p, sizes, distances,
):  # fmt: skip
    """What `Scales.judge` says."""
    suspect = False
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
            apart_by = js(two, other) if two[0] + other[0] > 0.0 else 0.0
            distances[SHARE, row] = normed(0, apart_by, variance)
            p[SHARE, row] = rare(0, distances[SHARE, row], 1.0, 1.0, 1.0, unit[SHARE, row],
                                  known[SHARE, row], FLOORS[2], screened)  # fmt: skip
            suspect |= not changed[row] and p[SHARE, row] <= levels[SHARE]
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
        common, usual_n = moments[2, row], moments[3, row]
        apart_by *= (1.0 + common * usual_n) / (1.0 + common / variance)
        distances[SHAPE, row] = apart_by if measure == 2 else apart_by / freedom
        p[SHAPE, row] = rare(measure, distances[SHAPE, row], freedom, moments[0, row],
                              moments[1, row], unit[SHAPE, row], known[SHAPE, row],
                              FLOORS[int(measure == 2)], screened)  # fmt: skip
        for place in range(GROUPS):
            usual = wanted[row, place] / expected
            single |= seen[row, place] == n and usual < 0.9
        strange = 2.0 * seen[row, NOVEL] > n or (single and only[row] >= 0)
        p[SCHEMA, row] = 0.0 if strange else 1.0
        suspect |= not changed[row] and (strange or p[SHAPE, row] <= levels[SHAPE])
    return suspect


@kernel("void(float64[:, :, ::1], int64, int64, float64[:, ::1], float64[:, ::1])")
def calibrate(kept, oldest, needed, unit, known):  # type: ignore[no-untyped-def]
    """Mean distances, from the `oldest` on, and how many independent ones they are worth.

    Of m that follow each other with a correlation r between neighbours, m (1 - r) / (1 + r).
    """
    rows = kept.shape[2]
    m, total, square, product = np.zeros((4, 2, rows))
    before = np.full((2, rows), np.nan)
    for turn in range(oldest, oldest + len(kept)):
        at = turn if turn < len(kept) else turn - len(kept)
        for statistic in range(2):
            for row in range(rows):
                if not np.isnan(kept[at, statistic, row]):
                    m[statistic, row] += 1.0
                    total[statistic, row] += kept[at, statistic, row]
    mean = total / np.maximum(m, 1.0)
    for turn in range(oldest, oldest + len(kept)):
        at = turn if turn < len(kept) else turn - len(kept)
        for statistic in range(2):
            for row in range(rows):
                away = kept[at, statistic, row] - mean[statistic, row]
                if not np.isnan(away):
                    square[statistic, row] += away * away
                    if not np.isnan(before[statistic, row]):
                        product[statistic, row] += away * before[statistic, row]
                before[statistic, row] = away
    for statistic in range(2):
        for row in range(rows):
            if m[statistic, row] < needed:
                continue
            alike = 0.0
            if square[statistic, row] > 0.0:
                alike = min(max(product[statistic, row] / square[statistic, row], 0.0), 0.9)
            unit[statistic, row] = mean[statistic, row]
            known[statistic, row] = m[statistic, row] * (1.0 - alike) / (1.0 + alike)


@kernel(
    "void(float64[:, ::1], float64[:, ::1], int64[::1], float64[:, ::1], float64[:, ::1],"
    " int64[::1], boolean, float64[:, ::1], boolean[::1], boolean[::1], float64, float64[:, ::1],"
    " float64[:, ::1], float64[:, ::1])"
)
def end(  # type: ignore[no-untyped-def]
    seen, wanted, only, longer_seen, longer_wanted, longer_only, longest, distances, changed,
    alone, forget, history, spread, weight,
):  # fmt: skip
    """Keep distances of rows not changed, add the window to the longer one, and empty it."""
    away = np.empty(GROUPS)
    for row in range(len(changed)):
        for statistic in range(2):
            history[statistic, row] = np.nan if changed[row] else distances[statistic, row]
        if not np.isnan(history[SHAPE, row]):
            n = 0.0
            for place in range(GROUPS):
                n += wanted[row, place]
            scale = 1.0 / np.sqrt(1.0 + wanted[row, SPREAD] / n)
            for place in range(GROUPS):
                expected = wanted[row, place]
                away[place] = scale * (seen[row, place] - expected) / np.sqrt(max(expected, 0.5))
            for left in range(GROUPS):
                for right in range(GROUPS):
                    at = left * GROUPS + right
                    spread[row, at] = forget * spread[row, at] + away[left] * away[right]
            weight[0, row] = forget * weight[0, row] + 1.0
            weight[1, row] = forget * forget * weight[1, row] + 1.0
            weight[2, row] = forget * weight[2, row] + n * scale * scale
        if not (longest or alone[row]):
            for place in range(COLUMNS):
                longer_seen[row, place] += seen[row, place]
                longer_wanted[row, place] += wanted[row, place]
            if longer_only[row] == -1:
                longer_only[row] = only[row]
            elif only[row] not in (-1, longer_only[row]):
                longer_only[row] = -2
        seen[row] = 0.0
        wanted[row] = 0.0
        only[row] = -1


LEAST_WAYS = 0.9
"""Estimates of as many ways as there are, all equal, err to both sides by about a tenth."""
PRIORS = (0.0, 2.0, 10.0)
"""Windows of each scale for which the moments of the shorter one, or of pure chance, count."""


@kernel(
    "void(float64[:, :, ::1], float64[:, ::1], float64[::1], float64[:, ::1], int64,"
    " float64[:, ::1])"
)
def shape(spread, weight, known, shorter, scale, moments):  # type: ignore[no-untyped-def]
    """What `Scales.moments` holds, of weighted sums of chi-squared numbers.

    Traces of powers of their covariance without bias, of m windows whose mean is known (of Wishart
    matrices); their ratios are pulled to those of the shorter scale.
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
        if scale:
            second, third = shorter[0, row], shorter[1, row]
        m = min(weight[0, row] ** 2 / weight[1, row], known[row])
        if m > 4.0:
            above = m * m / ((m - 1.0) * (m + 2.0)) * (two - 1.0 / m)
            cubed = m**4 / ((m - 1.0) * (m - 2.0) * (m + 2.0) * (m + 4.0))
            cubed *= three - 3.0 / m * two + 2.0 / (m * m)
            squared = 1.0 - 2.0 * above / m
            all_three = 1.0 - 6.0 * (above - 4.0 * cubed / m) / m - 8.0 * cubed / (m * m)
            above, cubed = above / max(squared, 0.1), cubed / max(all_three, 0.1)
            part = m / (m + PRIORS[scale])
            second += part * (min(max(above, LEAST_WAYS / free), 1.0) - second)
            third += part * (min(max(cubed, LEAST_WAYS**2 / free**2), 1.0) - third)
        moments[0, row] = second
        moments[3, row] = weight[2, row] / weight[0, row]
        moments[2, row] = max(0.0, one / (free * weight[0, row]) - 1.0) / moments[3, row]
        moments[1, row] = min(max(third, second * second), second**1.5)
