"""What nearly every bucket comes to, in one step: counted, judged as a burst, and nothing told.

Handing an array to a kernel takes a tenth of a microsecond, and these are thirty; so all that stay
in place are lent as one table.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.drift.judging import SHAPE, SHARE, end, judge
from operators.drift.scales import BURST, BURST_EVENTS, DAILY, KEPT, Scales
from operators.drift.season import Season, take
from streams.jit import kernel, lend, lent

COUNTED, CLOSED, SUSPECT = range(3)
"""What came of a bucket: no burst ends with it; one does; one does that may be told of."""
PART, OF_SHARES = 0.02, 0.05
"""Of false alarms those of bursts, which see gross errors, for which a small part is enough; and of
those the part that is left to shares of flagged values; where none ever is, none err.
"""

_words, _word_rows = lent("int64[::1]"), lent("int64[:, ::1]")
_reals, _real_rows = lent("float64[::1]"), lent("float64[:, ::1]")
_octets, _octet_rows = lent("int8[::1]"), lent("int8[:, ::1]")
_flags, _flag_rows = lent("boolean[::1]"), lent("boolean[:, ::1]")
(
    PHASE, FINE, GROUP, TODAY, PENDING, USUAL, SEEN, WANTED, ONLY, DAY_SEEN, DAY_WANTED, DAY_ONLY,
    MEASURES, UNIT, KNOWN, MOMENTS, SHARES, START, TOLD, BEGAN, HISTORY, SPREAD, WEIGHT, P, SIZES,
    DISTANCES, CHANGED, ALONE, LEVELS,
) = range(29)  # fmt: skip


def table_of(
    season: Season, scales: Scales, changed: npt.NDArray[np.bool_], levels: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """All that a burst is judged by, lent; and an array of it that nobody else keeps."""
    rows = len(changed)
    alone = np.zeros(rows, np.bool_)
    table = lend(
        season.phase, season.fine, season.group, season.today, season.pending, season.usual,
        scales.seen[BURST], scales.wanted[BURST], scales.only[BURST],
        scales.seen[DAILY], scales.wanted[DAILY], scales.only[DAILY],
        scales.measures, scales.unit[BURST], scales.known[BURST], scales.moments[BURST],
        scales.shares, scales.start_us, scales.told, scales.began_us,
        scales.history.reshape(-1, rows), scales.spread[BURST].reshape(rows, -1),
        scales.weight[BURST], scales.p, scales.sizes, scales.distances, changed, alone, levels,
    )  # fmt: skip
    return table, alone


@kernel(
    "int64(int64[:, ::1], int64[:, ::1], int64[::1], int64[::1], int64, int64, int64, int64,"
    " boolean, boolean)"
)
def burst(  # type: ignore[no-untyped-def]
    table, counts, blocks, flagged, start_us, end_us, slot_us, run_length_us, last, apart
):
    """Count a bucket [start, end), the `last` of a day perhaps; judge the burst that it ends.

    A burst is closed unless it may have to be told of; `LEVELS` are those at which it is.
    """
    start, told = _words(table, START), _words(table, TOLD)
    if told[BURST] == 0 and start[BURST] == 0:
        start[:] = start_us
    seen, wanted, only = _real_rows(table, SEEN), _real_rows(table, WANTED), _words(table, ONLY)
    whole = take(
        counts, blocks, flagged, _octets(table, PHASE), _word_rows(table, FINE),
        _octet_rows(table, GROUP), _flag_rows(table, TODAY), _word_rows(table, PENDING),
        _real_rows(table, USUAL), seen, wanted, only, max(1.0, slot_us / (end_us - start_us)),
        apart,
    )  # fmt: skip
    if not last and whole < BURST_EVENTS:
        return COUNTED
    levels, changed = _reals(table, LEVELS), _flags(table, CHANGED)
    part = PART * (end_us - start[BURST]) / run_length_us
    levels[SHARE] = part * OF_SHARES
    levels[SHAPE] = part - levels[SHARE] * _reals(table, SHARES)[BURST]
    distances = _real_rows(table, DISTANCES)
    if judge(
        seen, wanted, only, _octets(table, MEASURES), _real_rows(table, UNIT),
        _real_rows(table, KNOWN), _real_rows(table, MOMENTS), True, apart, changed, levels,
        _real_rows(table, P), _real_rows(table, SIZES), distances,
    ):  # fmt: skip
        return SUSPECT
    place = told[BURST] % KEPT[BURST]
    end(
        seen, wanted, only, _real_rows(table, DAY_SEEN), _real_rows(table, DAY_WANTED),
        _words(table, DAY_ONLY), False, distances, changed, _flags(table, ALONE),
        1.0 - 1.0 / KEPT[BURST], _real_rows(table, HISTORY)[2 * place : 2 * place + 2],
        _real_rows(table, SPREAD), _real_rows(table, WEIGHT),
    )  # fmt: skip
    _words(table, BEGAN)[place] = start[BURST]
    told[BURST] += 1
    start[BURST] = end_us
    return CLOSED
