"""Where positives were to be expected by the scores, and where they came.

Matured examples are taken in groups that end with every 30th positive. The scores of a group say
where among them its positives are to be expected: their log-odds are moved together until they
expect 30, which is what a change of the prior does to them, and then each counts by its
probability. A positive's *place* is the share of this expectation above it: one half on average as
long as labels follow from inputs as the scores have it, however many positives there are and
whatever the inputs are, since both move the expectation too. Positives that the model no longer
recognises come at low scores, at places near 1. The *gap* is the sum of the unmoved probabilities
from one positive to the next, 1 on average as long as there are as many positives as scores say.

The means of a group are watched: of places for a rise, of gaps for a rise and for a fall, each by
Page-Hinkley's test over sequential ranks, for all events and for each value of each slice: a
*series* is of one of these. Positives come in bursts, of a stolen card or a terminal, which makes
groups that follow each other alike: ranked is what those before a group did not foretell.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.drift.detector import ALARM, RANDOM, TOLD, Floats, Int64s
from operators.drift.page_hinkley import LEAST, LEAST_AT, RISE, N, step
from operators.drift.persistence import foretold, remember, settle
from operators.drift.ranks import rank, surprise
from operators.labels import BY_MATURITY
from streams.jit import borrow, kernel

GROUP = 30
FORETOLD = 0.5
"""The part of a deviation that is taken for foretold, at most: a change that stays is to show."""
PLACE, FEWER, MORE = range(3)
"""What is watched of a series: places, gaps, and gaps with the sign turned."""
TRACKS = 3
EXAMPLES, POSITIVES, LOSS, SCORES, HAZARD, TIME, LEVEL = range(7)
"""What is summed up: examples, positives, losses, scores, the same as hazards; when the latest
positive was; and what is watched, by group."""
FIELDS = LEVEL + 1
NOW, AT_LEAST = range(2)
"""Sums until now, and as they were when the latest rise began."""
OPEN, BEFORE, AFTER, LATELY, SINCE_TOLD = range(5)
"""Of an alarm: 1 while it is not over; means before, after and of late; positives since."""
SERIES, TRACK, WHAT, SIZE, SUMS = range(5)
"""Of a row that is told: SUMS are those before and those after."""
ROW = SUMS + 2 * FIELDS
BEGAN, ENDED = 1, 2
CLEAR, SEEN = range(2)
"""Whether negatives come too; until then negatives that were told, from then on positives."""
BINS = 256
CAME = BINS
"""Of a group, by bins of its scores: how many examples, then how many positives."""

_PER_UNIT, _REACH = 8, 16
_SMALLEST = 1e-12
_ROUNDS, _NEAR = 40, 1e-6
_SLOW = 1.0 / 8
SETTLED = 1_000
"""Positives after which one more change to the same side is told."""
NEGATIVES = 1_000
"""Told negatives from which on it may begin, though none has come by its maturity."""


@kernel()
def _mean_place(bins: Floats) -> float:
    """Of a group's positives, all log-odds moved by as much as makes the expectation as many."""
    moved, total = 0.0, 0.0
    for _ in range(_ROUNDS):
        total = 0.0
        for i in range(BINS):
            if bins[i] > 0:
                total += bins[i] / (1.0 + np.exp(_REACH - (i + 0.5) / _PER_UNIT - moved))
        if abs(np.log(GROUP / total)) < _NEAR:
            break
        moved += np.log(GROUP / total)
    above = places = 0.0
    for i in range(BINS - 1, -1, -1):
        if bins[i] > 0:
            own = bins[i] / (1.0 + np.exp(_REACH - (i + 0.5) / _PER_UNIT - moved))
            places += bins[CAME + i] * (above + own / 2)
            above += own
    return float(places / (above * GROUP))


@kernel()
def _renew(words: Int64s, sums: Floats) -> None:
    """What is now is what it begins with."""
    words[TOLD] = ALARM
    sums[:] = 0.0


@kernel()
def _observe(
    words: Int64s,
    reals: Floats,
    settings: Floats,
    tree: Int64s,
    sums: Floats,
    alarm: Floats,
    x: float,
    news: float,
    row: Floats,
) -> int:
    """Take what is watched of a group, and its news: BEGAN or ENDED, with sums written, or 0."""
    if words[TOLD] == ALARM:
        tree[:] = 0
    told = step(words, reals, settings, surprise(rank(tree, words, RANDOM, news)))
    if words[LEAST_AT] == words[N]:
        sums[AT_LEAST] = sums[NOW]
    row[SIZE] = reals[RISE] - reals[LEAST]
    before, after = row[SUMS : SUMS + FIELDS], row[SUMS + FIELDS :]
    alarm[SINCE_TOLD] += GROUP
    if told == ALARM:
        before[:] = sums[AT_LEAST]
        after[:] = sums[NOW] - sums[AT_LEAST]
        after[TIME] = sums[NOW, TIME]
        _renew(words, sums)
        if alarm[OPEN] > 0 and alarm[SINCE_TOLD] < SETTLED:
            return 0
        alarm[OPEN], alarm[SINCE_TOLD] = 1.0, 0.0
        alarm[BEFORE] = before[LEVEL] / before[POSITIVES]
        alarm[AFTER] = alarm[LATELY] = after[LEVEL] / after[POSITIVES]
        return BEGAN
    if alarm[OPEN] == 0:
        return 0
    alarm[LATELY] += _SLOW * (x - alarm[LATELY])
    middle = (alarm[BEFORE] + alarm[AFTER]) / 2
    if (alarm[LATELY] - middle) * (alarm[AFTER] - middle) >= 0:
        return 0
    before[:] = 0.0
    after[:] = sums[NOW]
    alarm[OPEN] = 0.0
    _renew(words, sums)
    return ENDED


@kernel()
def _news(sums: Floats, past: Floats, x: float) -> float:
    """What is left of a group's value without what those since the last alarm foretell of it."""
    if sums[POSITIVES] == 0.0:
        settle(past, x)
        return x
    mean = sums[LEVEL] / sums[POSITIVES]
    news = x - foretold(past, mean, FORETOLD)
    remember(past, mean, x)
    return float(news)


@kernel()
def _close(
    s: int,
    words: Int64s,
    reals: Floats,
    settings: Floats,
    trees: Int64s,
    bins: Floats,
    group: Floats,
    sums: Floats,
    pasts: Floats,
    alarms: Floats,
    out: Floats,
    rows: int,
) -> int:
    """End a group of a series; how many rows are told now. The arrays are of that series."""
    place, gap = _mean_place(bins), group[HAZARD] / GROUP
    for track in range(TRACKS):
        x = place if track == PLACE else gap if track == FEWER else -gap
        news = _news(sums[track, NOW], pasts[track], x)
        for i in range(TIME):
            sums[track, NOW, i] += group[i]
        sums[track, NOW, TIME] = group[TIME]
        sums[track, NOW, LEVEL] += x * GROUP
        what = _observe(
            words[track],
            reals[track],
            settings,
            trees[track],
            sums[track],
            alarms[track],
            x,
            news,
            out[rows],
        )
        if what == 0:
            continue
        if track != PLACE:
            other = FEWER + MORE - track
            _renew(words[other], sums[other])
            if what == BEGAN and alarms[other, OPEN] > 0:
                what = ENDED
                alarms[track, OPEN] = alarms[other, OPEN] = 0.0
        out[rows, SERIES], out[rows, TRACK], out[rows, WHAT] = s, track, what
        rows += 1
    return rows


@kernel(
    "int64(float64[::1], int8[::1], uint8[::1], int64[::1], int64[:, ::1], int64[::1], int64,"
    " int64[:, :, ::1], float64[:, :, ::1], float64[::1], int64[:, :, ::1], float64[:, ::1],"
    " float64[:, ::1], float64[:, :, :, ::1], float64[:, :, ::1], float64[:, :, ::1],"
    " float64[:, ::1])"
)
def take(
    score: Floats,
    y: npt.NDArray[np.int8],
    cause: npt.NDArray[np.uint8],
    time_us: Int64s,
    series: Int64s,
    begun: Int64s,
    after: int,
    words: Int64s,
    reals: Floats,
    settings: Floats,
    trees: Int64s,
    bins: Floats,
    groups: Floats,
    sums: Floats,
    pasts: Floats,
    alarms: Floats,
    out: Floats,
) -> int:
    """Take n matured examples, in order, each in its `series` (n, k), -1 for none; write what is
    to be told to rows of `out` and return how many. The other arrays have a row a series.

    Until negatives come too, positives are only those that become known early: nothing is counted.
    Nothing is watched before `after` positives: scores of a new model change as it learns.
    """
    bins, groups = borrow(bins), borrow(groups)
    rows = 0
    for i in range(len(score)):
        if begun[CLEAR] == 0:
            begun[SEEN] += 1 - y[i]
            if cause[i] != BY_MATURITY and begun[SEEN] < NEGATIVES:
                continue
            begun[CLEAR], begun[SEEN] = 1, 0
        begun[SEEN] += y[i]
        p = min(max(score[i], _SMALLEST), 1.0 - _SMALLEST)
        hit, miss = -np.log(p), -np.log1p(-p)
        place = np.int64(min(max((miss - hit + _REACH) * _PER_UNIT, 0.0), BINS - 1.0))
        for k in range(series.shape[1]):
            s = series[i, k]
            if s < 0:
                continue
            bins[s, place] += 1.0
            groups[s, EXAMPLES] += 1.0
            groups[s, SCORES] += p
            groups[s, HAZARD] += miss
            groups[s, LOSS] += hit if y[i] else miss
            if y[i] == 0:
                continue
            bins[s, CAME + place] += 1.0
            groups[s, POSITIVES] += 1.0
            groups[s, TIME] = time_us[i]
            if groups[s, POSITIVES] < GROUP:
                continue
            if begun[SEEN] > after:
                rows = _close(
                    s,
                    words[s],
                    reals[s],
                    settings,
                    trees[s],
                    bins[s],
                    groups[s],
                    sums[s],
                    pasts[s],
                    alarms[s],
                    out,
                    rows,
                )
            bins[s] = 0.0
            groups[s] = 0.0
    return rows
