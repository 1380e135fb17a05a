"""What one event sees of its key: the windows as of its own time, and the features read from them.

The newest event of a key reads the record's running integers. A late event, or one that comes before a label already
written, is shown the record as it was at its time: boundaries by binary search, accumulators by a scan, labels only if
known by then.
"""

from __future__ import annotations

import numpy as np

from operators.ring import (
    ACCS,
    BOUNDS,
    HEADER,
    LABEL_WORD,
    LABELLED,
    MATURITY,
    MISSING,
    PANE,
    POSITIVE,
    SCAN,
    STRIDE,
    UNLABELLED,
    after,
    contribution,
    place,
    weight,
)
from operators.scans import distinct, hour_share, occurrences, smallest
from streams.jit import kernel

(
    TOTAL,
    MEAN,
    STD,
    SHARE,
    PAST_MEAN,
    PAST_STD,
    SINCE_LAST,
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
) = range(21)
"""Codes of operations; those from LARGEST_CLEAN_RATIO on scan unrolled entries."""
CODE, OUT, WORD, LOWER, UPPER, FIRST, SECOND, ARGUMENT = range(8)
"""Columns of `ops`."""
SCALE, EMPTY, FACTOR = range(3)
"""Columns of `reals`."""
DAY = 86_400e6

RUN_LENGTH, RUN_AGE, RUN_GAP, RUN_LEAST, SINCE_NEGATIVE = range(5)
USER = "float64(int64, int64[::1], int64[::1], int8[::1])"


@kernel(USER)
def no_custom(which, times, values, status):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Stand in for the custom features of a pipeline that has none."""
    return np.nan


@kernel(
    "void(int64[::1], int64, int64[::1], int64[::1], int64[:, ::1], int64, int64, int64,"
    " int64[::1])"
)
def look_back(words, base, shape, ages, accs, capacity, index, now, view):  # type: ignore[no-untyped-def]
    """Fill `view` with the boundaries and accumulators that the event at `index` should see."""
    bounds = shape[BOUNDS]
    for b in range(bounds):
        view[b] = after(words, base, shape, capacity, now - ages[b], 2**62, index + 1)
    for a in range(shape[ACCS]):
        stop = index + 1 if accs[a, 3] < 0 else view[accs[a, 3]]
        total = 0
        for i in range(view[accs[a, 2]], stop):
            entry = place(words, base, shape, capacity, i)
            total += contribution(words, entry, accs[a, 0], accs[a, 1], now)
        view[bounds + a] = total


@kernel("int64(int64[::1], int64, int64[::1], int64)")
def known(words, entry, shape, now):
    """What is known of an entry's label: 1 positive, 0 negative or matured without a label, -1 nothing."""
    if shape[LABELLED]:
        label = words[entry + LABEL_WORD]
        mark = label & 3
        if mark == PANE:
            if 2 * (label >> 2) > weight(words, entry):
                return 1
        elif mark != UNLABELLED and label >> 2 <= now:
            return 1 if mark == POSITIVE else 0
    return 0 if words[entry] <= now - shape[MATURITY] else -1


@kernel(
    "void(int64[::1], int64, int64[::1], int64, int64, int64, int64, int64[::1], int8[::1],"
    " int64[:, ::1])"
)
def unroll(words, base, shape, capacity, first, stop, now, times, status, columns):
    """Lay the entries [first, stop) out oldest first: times, what is known of labels, every word."""
    for i in range(stop - first):
        entry = place(words, base, shape, capacity, first + i)
        times[i] = words[entry]
        status[i] = known(words, entry, shape, now)
        count = weight(words, entry)
        for w in range(2, shape[STRIDE]):
            value = words[entry + w]
            columns[w, i] = value // count if count > 1 and value != MISSING else value


@kernel("float64(int64[::1], int64, int64[::1], int64, int64, int64, int64, int64, int64, float64)")
def run_history(words, base, shape, capacity, first, index, now, which, word, empty):
    """The latest run of positives before the event at `index`, back to the latest known negative.

    Entries not known yet are passed over. RUN_LENGTH: how many positives, 0 if the latest known is
    negative. RUN_AGE: days since the first of them; RUN_GAP: days from the negative before it to
    it; RUN_LEAST: the least value among them. SINCE_NEGATIVE: days since that negative.
    """
    length = 0
    began = now
    least = MISSING
    i = index - 1
    while i >= first:
        entry = place(words, base, shape, capacity, i)
        label = known(words, entry, shape, now)
        if label == 0:
            break
        if label == 1:
            length += 1
            began = words[entry]
            value = words[entry + word]
            if value != MISSING and (least == MISSING or value < least):
                least = value
        i -= 1
    negative = words[place(words, base, shape, capacity, i)] if i >= first else 0
    if which == SINCE_NEGATIVE:
        return (now - negative) / DAY if i >= first else empty
    if which == RUN_LENGTH:
        return float(length) if length or i >= first else empty
    if length == 0 or (which == RUN_GAP and i < first):
        return empty
    if which == RUN_AGE:
        return (now - began) / DAY
    if which == RUN_GAP:
        return (began - negative) / DAY
    return float(least) if least != MISSING else empty


@kernel("float64(int64[::1], int64, int64[::1], int64, int64, int64, int64, float64)")
def since_positive(words, base, shape, capacity, first, index, now, empty):
    """Days since the latest known positive before the event at `index`."""
    for i in range(index - 1, first - 1, -1):
        entry = place(words, base, shape, capacity, i)
        if known(words, entry, shape, now) == 1:
            return (now - words[entry]) / DAY
    return empty


@kernel("float64(int64, int64, int64)")
def spread(count, total, squares):
    """The sum of squared deviations from the mean, from exact integer sums.

    The squares are taken about the whole part of the mean, in integers, so nothing cancels.
    """
    middle = total // count
    rest = total - middle * count
    about = squares - 2 * middle * total + count * middle * middle
    return about - rest * rest / count


@kernel("UniTuple(int64, 3)(int64[::1], int64, int64, int64, int64, int64)")
def baseline(seen, delayed, whole, here, own, enough):
    """Count, sum and squares of the key's clean past.

    The matured part of the window if it has `enough` events, else all of it but the current event,
    `own` of which is in the window's sums with the value `here`.
    """
    if seen[delayed] >= enough:
        return seen[delayed], seen[delayed + 1], seen[delayed + 2]
    if here == MISSING:
        return seen[whole], seen[whole + 1], seen[whole + 2]
    return seen[whole] - own, seen[whole + 1] - own * here, seen[whole + 2] - own * here * here


@kernel("float64(int64, int64, int64, int64, int64, float64)")
def against_baseline(code, count, total, squares, here, empty):
    """A value's ratio to the clean mean, or its distance from it in deviations."""
    if code == CLEAN_RATIO:
        return here * count / total if total != 0 and here != MISSING else empty
    if count < 2 or here == MISSING:
        return empty
    about = spread(count, total, squares)
    return (here - total / count) / np.sqrt(about / count) if about > 0 else empty


@kernel("float64(int64, int64[::1], int64, int64, float64, float64)")
def week_against_baseline(code, values, count, total, factor, empty):
    """Earlier values against the clean mean: the largest ratio, or what exceeds `factor` means."""
    excess = 0.0
    largest = MISSING
    for i in range(len(values) - 1):
        if values[i] != MISSING:
            largest = max(largest, values[i])
            excess += max(0.0, values[i] * count - factor * total)
    if code == CLEAN_EXCESS:
        return excess / total
    return largest * count / total if largest != MISSING else empty


@kernel(
    "float64(int64, int64[::1], float64[::1], int64[::1], int8[::1], int64[::1],"
    f" FunctionType({USER}))"
)
def scan(code, op, real, times, status, values, custom):
    """A feature over the key's recent events."""
    if code == MINIMUM:
        return smallest(values, 1, real[SCALE], real[EMPTY])
    if code == MAXIMUM:
        return smallest(values, -1, real[SCALE], real[EMPTY])
    if code == DISTINCT:
        return distinct(values)
    if code == OCCURRENCES:
        return occurrences(values)
    if code == HOUR_SHARE:
        return hour_share(times, op[ARGUMENT], real[EMPTY])
    return custom(op[ARGUMENT], times, values, status)


@kernel(
    "void(int64[::1], int64, int64[::1], int64[:, ::1], float64[:, ::1], int64, int64, int64,"
    " int64[::1], int64, int64[::1], int8[::1], int64[:, ::1], int64,"
    f" FunctionType({USER}), float64[::1])"
)
def read(
    words, base, shape, ops, reals, capacity, index, now, seen, seen_at, times, status, columns,
    unrolled, custom, out,
):  # fmt: skip
    """Compute every feature of one entity for the event at `index`.

    `seen[seen_at:]` holds boundaries then accumulators; the last `unrolled` entries up to the event
    lie in times, status, columns.
    """
    sums = seen_at + shape[BOUNDS]
    entry = place(words, base, shape, capacity, index)
    for o in range(len(ops)):
        code = ops[o, CODE]
        first = sums + ops[o, FIRST]
        second = sums + ops[o, SECOND]
        lower = seen[seen_at + ops[o, LOWER]]
        scale = reals[o, SCALE]
        value = reals[o, EMPTY]
        here = words[entry + ops[o, WORD]]
        if code == TOTAL:
            value = seen[first] * scale
        elif code == MEAN:
            if seen[second] > 0:
                value = seen[first] / seen[second] * scale
        elif code == SHARE:
            if seen[second] > 0:
                value = seen[first] / seen[second]
        elif code <= PAST_STD:
            own = code != STD and here != MISSING
            count = seen[second] - own
            total = seen[first] - (here if own else 0)
            if code == PAST_MEAN:
                if count > 0:
                    value = total / count * scale
            elif count > 1:
                squares = seen[sums + ops[o, ARGUMENT]] - (here * here if own else 0)
                value = np.sqrt(spread(count, total, squares) / (count - 1)) * scale
        elif code == SINCE_LAST:
            if index > lower:
                value = (now - words[place(words, base, shape, capacity, index - 1)]) / DAY
        elif code == SINCE_FIRST:
            value = (now - words[place(words, base, shape, capacity, lower)]) / DAY
        elif code == SINCE_POSITIVE:
            if seen[first] > 0:
                value = since_positive(words, base, shape, capacity, lower, index, now, value)
        elif code == RUN:
            value = scale * run_history(
                words, base, shape, capacity, lower, index, now, ops[o, ARGUMENT], ops[o, WORD],
                value,
            )  # fmt: skip
        elif code <= CLEAN_EXCESS:
            own = 1 if known(words, entry, shape, now) != 1 else 0
            count, total, squares = baseline(seen, first, second, here, own, ops[o, ARGUMENT])
            if code == CLEAN_MEAN:
                value = total / count * scale if count > 0 else value
            elif code <= CLEAN_ZSCORE:
                if code == CLEAN_RATIO or count >= ops[o, ARGUMENT]:
                    value = against_baseline(code, count, total, squares, here, value)
            elif total > 0:
                x = columns[ops[o, WORD], unrolled - (index + 1 - lower) : unrolled]
                value = week_against_baseline(code, x, count, total, reals[o, FACTOR], value)
        else:
            begin = unrolled - (index + 1 - lower)
            end = unrolled
            if ops[o, UPPER] >= 0:
                end -= index + 1 - seen[seen_at + ops[o, UPPER]]
            value = scan(
                code, ops[o], reals[o], times[begin:end], status[begin:end],
                columns[ops[o, WORD], begin:end], custom,
            )  # fmt: skip
        out[ops[o, OUT]] = value
