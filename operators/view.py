"""What one event sees of its key: the windows as of its own time.

The newest event of a key reads the record's running integers. A late event, or one that comes
before a label already written, is shown the record as it was at its time: boundaries by binary
search, accumulators counted anew, labels only if known by then.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.ring import (
    BOUNDS,
    HEAD,
    HEADER,
    ID,
    LABEL_WORD,
    LABELLED,
    MATURITY,
    MISSING,
    PANE,
    POSITIVE,
    RETENTION,
    STRIDE,
    UNLABELLED,
    after,
    place,
    recount,
    weight,
)
from streams.jit import kernel

Int64s = npt.NDArray[np.int64]
Int8s = npt.NDArray[np.int8]

DAY = 86_400e6
LAST_ID = 2**63 - 1
"""No id's low word comes after it."""


@kernel(
    "void(int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int64, int64, int64,"
    " int64, int64[::1])"
)
def look_back(
    words: Int64s,
    shape: Int64s,
    ages: Int64s,
    accs: Int64s,
    acc_from: Int64s,
    base: int,
    capacity: int,
    index: int,
    now: int,
    view: Int64s,
) -> None:
    """Fill `view` with the boundaries and accumulators that the event at `index` should see."""
    count = words[base + HEADER] >> 32
    expired = words[place(words, shape, base, capacity, count - 1)] - shape[RETENTION]
    first = 0
    for b in range(shape[BOUNDS]):
        limit = max(now - ages[b], expired)
        first = after(words, shape, base, capacity, limit, LAST_ID, index + 1)
        view[b] = first << 32
    view[0] = (index + 1) << 32
    recount(view, 0, words, shape, accs, acc_from, base, capacity, first, now)


@kernel("int64(int64[::1], int64[::1], int64, int64)")
def known(words: Int64s, shape: Int64s, entry: int, now: int) -> int:
    """What is known of an entry's label: 1 positive, 0 negative or matured without a label, -1
    nothing.
    """
    if shape[LABELLED]:
        label = words[entry + LABEL_WORD]
        status = label & 3
        if status == PANE:
            if 2 * (label >> 2) > weight(words, entry):
                return 1
        elif status != UNLABELLED and label >> 2 <= now:
            return 1 if status == POSITIVE else 0
    return 0 if words[entry] <= now - shape[MATURITY] else -1


@kernel(
    "void(int64[::1], int64[::1], int64, int64, int64, int64, int64, int64[::1], int8[::1],"
    " int64[:, ::1])"
)
def unroll(
    words: Int64s,
    shape: Int64s,
    base: int,
    capacity: int,
    first: int,
    stop: int,
    now: int,
    times: Int64s,
    status: Int8s,
    columns: Int64s,
) -> None:
    """Lay the entries [first, stop) out, oldest first: times, what labels say, every word."""
    for i in range(stop - first):
        entry = place(words, shape, base, capacity, first + i)
        times[i] = words[entry]
        status[i] = known(words, shape, entry, now)
        count = weight(words, entry)
        for w in range(2, shape[STRIDE]):
            value = words[entry + w]
            columns[w, i] = value // count if count > 1 and value != MISSING else value


@kernel(
    "Tuple((int64, int64, int64, int64, boolean))"
    "(int64[::1], int64[::1], int64, int64, int64, int64, int64, int64)"
)
def latest_run(
    words: Int64s,
    shape: Int64s,
    base: int,
    capacity: int,
    first: int,
    index: int,
    now: int,
    word: int,
) -> tuple[int, int, int, int, bool]:
    """The latest run of known positives before the event at `index`, back to the latest known
    negative.

    Returns how many, the time of the first, the least value among them, the time of that negative,
    and whether there is one in [first, index). Entries not known yet are passed over.
    """
    length = 0
    began = now
    least = MISSING
    entry = place(words, shape, base, capacity, index)
    for _ in range(index - first):
        entry -= shape[STRIDE]
        if entry < base + shape[HEAD]:
            entry += capacity * shape[STRIDE]
        status = known(words, shape, entry, now)
        if status == 0:
            return length, began, least, int(words[entry]), True
        if status == 1:
            length += 1
            began = int(words[entry])
            value = words[entry + word]
            if value != MISSING and (least == MISSING or value < least):
                least = value
    return length, began, least, 0, False


@kernel("float64(int64[::1], int64[::1], int64, int64, int64, int64, int64, float64)")
def since_positive(
    words: Int64s,
    shape: Int64s,
    base: int,
    capacity: int,
    first: int,
    index: int,
    now: int,
    empty: float,
) -> float:
    """Days since the latest known positive before the event at `index`."""
    if not shape[LABELLED]:
        return empty
    stride, ring = shape[STRIDE], base + shape[HEAD]
    entry, left = place(words, shape, base, capacity, index), index - first
    while left > 0:
        if entry == ring:
            entry += capacity * stride
        together = min(left, (entry - ring) // stride)
        left -= together
        for _ in range(together):
            entry -= stride
            # Few entries are labelled positive, or hold several: no more is asked of the others.
            if words[entry + LABEL_WORD] & POSITIVE and known(words, shape, entry, now) == 1:
                return float((now - words[entry]) / DAY)
    return empty


@kernel("float64(int64, int64, int64)")
def spread(count: int, total: int, squares: int) -> float:
    """The sum of squared deviations from the mean, from exact integer sums.

    The squares are taken about the whole part of the mean, in integers, so nothing cancels.
    """
    middle = total // count
    rest = total - middle * count
    about = squares - 2 * middle * total + count * middle * middle
    return about - rest * rest / count


@kernel("UniTuple(float64, 2)(int64[::1], int64[::1], int64, int64, int64, int64, int64, float64)")
def recent_values(
    words: Int64s,
    shape: Int64s,
    base: int,
    capacity: int,
    first: int,
    index: int,
    word: int,
    above: float,
) -> tuple[float, float]:
    """The largest value of the entries [first, index), NaN if none has one, and what exceeds
    `above` in all.
    """
    largest = np.nan
    excess = 0.0
    for i in range(first, index):
        entry = place(words, shape, base, capacity, i)
        value = words[entry + word]
        if value == MISSING:
            continue
        if words[entry + ID] < 0:
            value //= -words[entry + ID]
        if not largest >= value:
            largest = float(value)
        excess += max(0.0, value - above)
    return largest, excess
