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
    ID,
    LABEL_WORD,
    LABELLED,
    MATURITY,
    NEGATIVE,
    PANE,
    POSITIVE,
    POSITIVES,
    SCAN,
    STRIDE,
    UNLABELLED,
    after,
    contribution,
    place,
    weight,
)
from operators.scans import (
    clean_mean,
    distinct,
    hour_share,
    occurrences,
    run_feature,
    smallest,
)
from streams.jit import kernel

MISSING = -(2**63)
(
    TOTAL,
    MEAN,
    STD,
    SHARE,
    PAST_MEAN,
    PAST_STD,
    SINCE_LAST,
    SINCE_FIRST,
    MINIMUM,
    MAXIMUM,
    DISTINCT,
    OCCURRENCES,
    HOUR_SHARE,
    RUN,
    CLEAN_MEAN,
    CUSTOM,
) = range(16)
CODE, OUT, WORD, LOWER, UPPER, FIRST, SECOND, ARGUMENT = range(8)
SCALE, EMPTY, FACTOR = range(3)
SECOND_US = 1_000_000

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
            if accs[a, 0] == POSITIVES:
                label = words[entry + LABEL_WORD]
                if label & 3 != PANE and label >> 2 > now:
                    continue
            total += contribution(words, entry, accs[a, 0], accs[a, 1])
        view[bounds + a] = total


@kernel(
    "void(int64[::1], int64, int64[::1], int64, int64, int64, int64, int64[::1], int8[::1],"
    " int64[:, ::1])"
)
def unroll(words, base, shape, capacity, first, stop, now, times, status, columns):  # type: ignore[no-untyped-def]
    """Lay the entries [first, stop) out oldest first: times, what is known of labels, and every word.

    Status: 1 known positive, 0 known negative or matured without a label, -1 not known at `now`.
    """
    start = words[base + 1] & 0xFFFFFFFF
    ring = base + HEADER + shape[BOUNDS] + shape[ACCS]
    stride = shape[STRIDE]
    at = start + first
    if at >= capacity:
        at -= capacity
    for i in range(stop - first):
        entry = ring + at * stride
        at += 1
        if at == capacity:
            at = 0
        times[i] = words[entry]
        mature = words[entry] <= now - shape[MATURITY]
        status[i] = 0 if mature else -1
        if shape[LABELLED]:
            label = words[entry + LABEL_WORD]
            mark = label & 3
            if mark == PANE:
                status[i] = 1 if 2 * (label >> 2) > weight(words, entry) else status[i]
            elif mark != UNLABELLED and label >> 2 <= now:
                status[i] = 1 if mark == POSITIVE else 0
        count = weight(words, entry)
        for w in range(2, stride):
            value = words[entry + w]
            columns[w, i] = value // count if count > 1 and value != MISSING else value


@kernel("float64(int64, int64, int64, int64, float64, float64)")
def moments(kind, count, total, squares, scale, empty):  # type: ignore[no-untyped-def]
    """Mean or sample deviation from exact integer sums.

    The squares are taken about the whole part of the mean, in integers, so nothing cancels.
    """
    if kind == PAST_MEAN:
        return total / count * scale if count > 0 else empty
    if count < 2:
        return empty
    middle = total // count
    rest = total - middle * count
    about = squares - 2 * middle * total + count * middle * middle
    return np.sqrt((about - rest * rest / count) / (count - 1)) * scale


@kernel(
    "void(int64[::1], int64, int64[::1], int64[:, ::1], float64[:, ::1], int64, int64, int64,"
    " int64[::1], int64, int64[::1], int8[::1], int64[:, ::1], int64,"
    f" FunctionType({USER}), float64[::1])"
)
def read(  # type: ignore[no-untyped-def]
    words,
    base,
    shape,
    ops,
    reals,
    capacity,
    index,
    now,
    seen,
    seen_at,
    times,
    status,
    columns,
    unrolled,
    custom,
    out,
):
    """Compute every feature of one entity for the event at `index`.

    `seen[seen_at:]` holds boundaries then accumulators; the last `unrolled` entries up to the event
    lie in times, status, columns.
    """
    sums = seen_at + shape[BOUNDS]
    entry = place(words, base, shape, capacity, index)
    for o in range(len(ops)):
        code = ops[o, CODE]
        scale = reals[o, SCALE]
        empty = reals[o, EMPTY]
        value = empty
        if code == TOTAL:
            value = seen[sums + ops[o, FIRST]] * scale
        elif code == MEAN:
            count = seen[sums + ops[o, SECOND]]
            if count > 0:
                value = seen[sums + ops[o, FIRST]] / count * scale
        elif code == SHARE:
            count = seen[sums + ops[o, SECOND]]
            if count > 0:
                value = seen[sums + ops[o, FIRST]] / count
        elif code == STD or code == PAST_MEAN or code == PAST_STD:
            count = seen[sums + ops[o, SECOND]]
            total = seen[sums + ops[o, FIRST]]
            squares = seen[sums + ops[o, ARGUMENT]]
            if code != STD and words[entry + ops[o, WORD]] != MISSING:
                here = words[entry + ops[o, WORD]]
                count -= 1
                total -= here
                squares -= here * here
            value = moments(code, count, total, squares, scale, empty)
        elif code == SINCE_LAST:
            if index > 0:
                gap = now - words[place(words, base, shape, capacity, index - 1)]
                if gap < ops[o, ARGUMENT]:
                    value = gap / SECOND_US
        elif code == SINCE_FIRST:
            first = seen[seen_at + ops[o, LOWER]]
            value = (now - words[place(words, base, shape, capacity, first)]) / SECOND_US
        else:
            first = unrolled - (index + 1 - seen[seen_at + ops[o, LOWER]])
            stop = unrolled
            if ops[o, UPPER] >= 0:
                stop -= index + 1 - seen[seen_at + ops[o, UPPER]]
            word = ops[o, WORD]
            t = times[first:stop]
            x = columns[word, first:stop]
            s = status[first:stop]
            if code == MINIMUM:
                value = smallest(x, 1, scale, empty)
            elif code == MAXIMUM:
                value = smallest(x, -1, scale, empty)
            elif code == DISTINCT:
                value = distinct(x)
            elif code == OCCURRENCES:
                value = occurrences(x)
            elif code == HOUR_SHARE:
                value = hour_share(t, ops[o, ARGUMENT], empty)
            elif code == RUN:
                value = run_feature(t, s, now, ops[o, ARGUMENT], empty)
            elif code == CLEAN_MEAN:
                value = clean_mean(x, s, reals[o, FACTOR], empty / scale) * scale
            elif code == CUSTOM:
                value = custom(ops[o, ARGUMENT], t, x, s)
        out[ops[o, OUT]] = value
