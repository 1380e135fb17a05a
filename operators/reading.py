"""Feature values from what an event sees of its key: one operation a feature, in the order of the
plan.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.ring import ID, MISSING, place
from operators.scans import distinct, hour_share, occurrences, smallest
from operators.view import DAY, known, latest_run, recent_values, since_positive, spread
from streams.jit import from_address, kernel

Int64s = npt.NDArray[np.int64]
Int8s = npt.NDArray[np.int8]
Float64s = npt.NDArray[np.float64]

(
    COUNT,
    SUM,
    MEAN,
    SHARE,
    STD,
    PAST_MEAN,
    PAST_STD,
    SINCE_LAST,
    LAG,
    SAME,
    SINCE_FIRST,
    SINCE_POSITIVE,
    RUN,
    CLEAN_MEAN,
    CLEAN_RATIO,
    CLEAN_ZSCORE,
    LARGEST_CLEAN_RATIO,
    CLEAN_EXCESS,
    MINIMUM,
    MAXIMUM,
    DISTINCT,
    OCCURRENCES,
    HOUR_SHARE,
    CUSTOM,
) = range(24)
"""Codes of operations; those from MINIMUM on scan unrolled entries."""
CODE, OUT, WORD, LOWER, UPPER, ARGUMENT, N_LOW, N_UP, LOW, UP, SQUARES_LOW, SQUARES_UP = range(12)
"""Columns of `ops`. LOWER, UPPER are boundaries; the last six are places after the header, of a
count, a sum and its squares at the lower and the upper boundary. Of clean operations LOW, N_UP and
UP are the triples past the horizon, the maturity and everything."""
SCALE, EMPTY, FACTOR = range(3)
"""Columns of `reals`."""
EVENTS = 0xFFFFFFFF
"""The bits of a difference of boundary words that count events."""

RUN_LENGTH, RUN_AGE, RUN_GAP, RUN_LEAST, SINCE_NEGATIVE = range(5)
USER = "float64(int64, int64[::1], int64[::1], int8[::1])"
custom_at = from_address(USER)


@kernel(USER)
def no_custom(which: int, times: Int64s, values: Int64s, status: Int8s) -> float:  # noqa: ARG001
    """Stand in for the custom features of a pipeline that has none."""
    return np.nan


@kernel("float64(int64, int64, int64, int64, int64, boolean, int64, float64, float64)")
def run_feature(
    which: int,
    length: int,
    began: int,
    least: int,
    negative: int,
    any_negative: bool,
    now: int,
    scale: float,
    empty: float,
) -> float:
    """One word of the latest run of positives.

    RUN_LENGTH: how many positives, 0 if the latest known is negative. RUN_AGE: days since the first
    of them; RUN_GAP: days from the negative before it to it; RUN_LEAST: the least value among them.
    SINCE_NEGATIVE: days since that negative.
    """
    if which == SINCE_NEGATIVE:
        return (now - negative) / DAY if any_negative else empty
    if which == RUN_LENGTH:
        return float(length) if length or any_negative else empty
    if length == 0 or (which == RUN_GAP and not any_negative):
        return empty
    if which == RUN_AGE:
        return (now - began) / DAY
    if which == RUN_GAP:
        return (began - negative) / DAY
    return least * scale if least != MISSING else empty


@kernel("UniTuple(int64, 3)(int64[::1], int64, int64, int64, int64, boolean, int64)")
def baseline(
    seen: Int64s, low: int, middle: int, up: int, here: int, own: bool, enough: int
) -> tuple[int, int, int]:
    """Count, sum and squares of the key's clean past.

    The matured part of the window if it has `enough` events, else all of it but the current event,
    which is in the window's sums with the value `here` if it is its `own`.
    """
    count = seen[middle] - seen[low]
    if count >= enough:
        return count, seen[middle + 1] - seen[low + 1], seen[middle + 2] - seen[low + 2]
    count = seen[up] - seen[low]
    total = seen[up + 1] - seen[low + 1]
    squares = seen[up + 2] - seen[low + 2]
    if own and here != MISSING:
        return count - 1, total - here, squares - here * here
    return count, total, squares


@kernel("float64(int64, int64, int64, int64, int64, float64)")
def against_baseline(
    code: int, count: int, total: int, squares: int, here: int, empty: float
) -> float:
    """A value's ratio to the clean mean, or its distance from it in deviations."""
    if code == CLEAN_RATIO:
        return here * count / total if total != 0 and here != MISSING else empty
    if count < 2 or here == MISSING:
        return empty
    about = spread(count, total, squares)
    return float((here - total / count) / np.sqrt(about / count)) if about > 0 else empty


@kernel("float64(int64, int64, int64, int64, float64, float64)")
def lagged(code: int, ident: int, here: int, there: int, scale: float, empty: float) -> float:
    """An earlier event's value, or whether it is this event's; of several in a pane it is none."""
    if ident < 0 or there == MISSING or (code == SAME and here == MISSING):
        return empty
    return there * scale if code == LAG else 1.0 if there == here else 0.0


@kernel("float64(int64, int64[::1], float64[::1], int64[::1], int8[::1], int64[::1], int64)")
def scan(
    code: int,
    op: Int64s,
    real: Float64s,
    times: Int64s,
    status: Int8s,
    values: Int64s,
    custom: int,
) -> float:
    """A feature over the key's recent events."""
    if code == MINIMUM:
        return float(smallest(values, 1, real[SCALE], real[EMPTY]))
    if code == MAXIMUM:
        return float(smallest(values, -1, real[SCALE], real[EMPTY]))
    if code == DISTINCT:
        return float(distinct(values))
    if code == OCCURRENCES:
        return float(occurrences(values))
    if code == HOUR_SHARE:
        return float(hour_share(times, op[ARGUMENT], real[EMPTY]))
    return float(custom_at(custom)(op[ARGUMENT], times, values, status))


@kernel(
    "void(int64[::1], int64[::1], int64[:, ::1], float64[:, ::1], int64, int64, int64, int64,"
    " int64[::1], int64, int64[::1], int8[::1], int64[:, ::1], int64,"
    " int64, float64[:, ::1], int64)",
    inline=True,
)
def read(
    words: Int64s,
    shape: Int64s,
    ops: Int64s,
    reals: Float64s,
    base: int,
    capacity: int,
    index: int,
    now: int,
    seen: Int64s,
    at: int,
    times: Int64s,
    status: Int8s,
    columns: Int64s,
    unrolled: int,
    custom: int,
    out: Float64s,
    line: int,
) -> None:
    """Compute every feature of one entity for the event at `index`.

    `seen[at:]` holds boundaries then accumulators; the last `unrolled` entries up to the event lie
    in times, status, columns.
    """
    entry = place(words, shape, base, capacity, index)
    run_first, run_word = -1, 0
    length, began, least, negative, any_negative = 0, 0, 0, 0, False
    week_first, week_word, week_above, largest, excess = -1, 0, 0.0, np.nan, 0.0
    for o in range(len(ops)):
        code = ops[o, CODE]
        scale = reals[o, SCALE]
        value = reals[o, EMPTY]
        if code == COUNT:
            value = float((seen[at + ops[o, N_UP]] - seen[at + ops[o, N_LOW]]) & EVENTS)
        elif code <= SHARE:
            total = seen[at + ops[o, UP]] - seen[at + ops[o, LOW]]
            if code == SUM:
                value = total * scale
            else:
                count = (seen[at + ops[o, N_UP]] - seen[at + ops[o, N_LOW]]) & EVENTS
                if count > 0:
                    value = total / count * scale
        elif code <= PAST_STD:
            here = words[entry + ops[o, WORD]]
            own = 0 if code == STD or here == MISSING else 1
            count = ((seen[at + ops[o, N_UP]] - seen[at + ops[o, N_LOW]]) & EVENTS) - own
            total = seen[at + ops[o, UP]] - seen[at + ops[o, LOW]] - own * here
            if code == PAST_MEAN:
                if count > 0:
                    value = total / count * scale
            elif count > 1:
                squares = seen[at + ops[o, SQUARES_UP]] - seen[at + ops[o, SQUARES_LOW]]
                squares -= own * here * here
                value = np.sqrt(spread(count, total, squares) / (count - 1)) * scale
        elif code <= RUN:
            lower = seen[at + ops[o, LOWER]] >> 32
            if code <= SAME:
                back = index - 1 - ops[o, ARGUMENT]
                if back >= lower:
                    then = place(words, shape, base, capacity, back)
                    if code == SINCE_LAST:
                        value = (now - words[then]) / DAY
                    else:
                        here, there = words[entry + ops[o, WORD]], words[then + ops[o, WORD]]
                        value = lagged(code, words[then + ID], here, there, scale, value)
            elif code == SINCE_FIRST:
                value = (now - words[place(words, shape, base, capacity, lower)]) / DAY
            elif code == SINCE_POSITIVE:
                if seen[at + ops[o, UP]] != seen[at + ops[o, LOW]]:
                    value = since_positive(words, shape, base, capacity, lower, index, now, value)
            else:
                if lower != run_first or ops[o, WORD] != run_word:
                    run_first, run_word = lower, ops[o, WORD]
                    length, began, least, negative, any_negative = latest_run(
                        words, shape, base, capacity, lower, index, now, run_word
                    )
                value = run_feature(
                    ops[o, ARGUMENT], length, began, least, negative, any_negative, now, scale,
                    value,
                )  # fmt: skip
        elif code <= CLEAN_EXCESS:
            here = words[entry + ops[o, WORD]]
            count, total, squares = baseline(
                seen, at + ops[o, LOW], at + ops[o, N_UP], at + ops[o, UP], here,
                known(words, shape, entry, now) != 1, ops[o, ARGUMENT],
            )  # fmt: skip
            if code == CLEAN_MEAN:
                if count > 0:
                    value = total / count * scale
            elif code <= CLEAN_ZSCORE:
                if code == CLEAN_RATIO or count >= ops[o, ARGUMENT]:
                    value = against_baseline(code, count, total, squares, here, value)
            elif total > 0:
                mean = total / count
                lower = seen[at + ops[o, LOWER]] >> 32
                above = reals[o, FACTOR] * mean
                if lower != week_first or ops[o, WORD] != week_word or above != week_above:
                    week_first, week_word, week_above = lower, ops[o, WORD], above
                    largest, excess = recent_values(
                        words, shape, base, capacity, lower, index, week_word, above
                    )
                if code == CLEAN_EXCESS:
                    value = excess / mean
                elif largest == largest:  # noqa: PLR0124 - a NaN is not itself
                    value = largest / mean
        else:
            begin = unrolled - (index + 1 - (seen[at + ops[o, LOWER]] >> 32))
            end = unrolled - (index + 1 - (seen[at + ops[o, UPPER]] >> 32))
            value = scan(
                code, ops[o], reals[o], times[begin:end], status[begin:end],
                columns[ops[o, WORD], begin:end], custom,
            )  # fmt: skip
        out[line, ops[o, OUT]] = value
