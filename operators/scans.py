"""Features that look over a key's recent events: kernels on contiguous columns, oldest first, the current event last.

Status of an event: 1 known positive, 0 known negative (or matured without a label), -1 not known yet. Every one is a pure
function of what the key's record holds at that time, so arrival order cannot matter.
"""

from __future__ import annotations

import numpy as np

from streams.jit import kernel

MISSING = -(2**63)
HOUR_US = 3_600_000_000
RUN_AGE, RUN_LAST, RUN_LENGTH, RUN_GAP, CALM = range(5)
"""Of the label history: see `run_feature`."""


@kernel("float64(int64[::1], int64, float64, float64)")
def smallest(values, sign, scale, empty):  # type: ignore[no-untyped-def]
    """The least value (sign 1) or the greatest (sign -1)."""
    best = MISSING
    for i in range(len(values)):
        value = values[i]
        if value != MISSING and (best == MISSING or sign * value < sign * best):
            best = value
    return empty if best == MISSING else best * scale


@kernel("float64(int64[::1])")
def distinct(values):  # type: ignore[no-untyped-def]
    """How many different values there are, by open addressing."""
    size = 8
    while size < 2 * len(values):
        size *= 2
    table = np.full(size, MISSING, np.int64)
    found = 0
    for i in range(len(values)):
        value = values[i]
        if value == MISSING:
            continue
        at = (value ^ (value >> 17)) & (size - 1)
        while table[at] != MISSING and table[at] != value:
            at = (at + 1) & (size - 1)
        if table[at] == MISSING:
            table[at] = value
            found += 1
    return float(found)


@kernel("float64(int64[::1])")
def occurrences(values):  # type: ignore[no-untyped-def]
    """How many earlier events carry the current event's value: 0 for a new pair."""
    current = values[len(values) - 1]
    found = 0
    for i in range(len(values) - 1):
        found += values[i] == current
    return float(found)


@kernel("float64(int64[::1], int64, float64)")
def hour_share(times, width, empty):  # type: ignore[no-untyped-def]
    """The share of earlier events within `width` microseconds of this time of day, either side."""
    day = 24 * HOUR_US
    earlier = len(times) - 1
    if earlier <= 0:
        return empty
    current = times[earlier] % day
    near = 0
    for i in range(earlier):
        apart = abs(times[i] % day - current)
        near += min(apart, day - apart) <= width
    return near / earlier


@kernel("float64(int64[::1], int8[::1], int64, int64, float64)")
def run_feature(times, status, now, which, empty):  # type: ignore[no-untyped-def]
    """The history of a label among the events whose label is known, the current one left out.

    The current run is the latest unbroken row of positives. RUN_AGE and RUN_LAST: seconds since its
    first and last positive; RUN_LENGTH: how many; RUN_GAP: seconds from the last negative before it
    to its first positive; CALM: how many negatives in a row since the last positive.
    """
    i = len(times) - 2
    calm = 0
    while i >= 0 and status[i] != 1:
        calm += status[i] == 0
        i -= 1
    if which == CALM:
        return float(calm) if i >= 0 else empty
    if which == RUN_LENGTH and calm:
        return 0.0
    if i < 0 or calm:
        return empty
    last = times[i]
    first = last
    length = 0
    while i >= 0 and status[i] != 0:
        if status[i] == 1:
            first = times[i]
            length += 1
        i -= 1
    if which == RUN_AGE:
        return (now - first) / 1e6
    if which == RUN_LAST:
        return (now - last) / 1e6
    if which == RUN_LENGTH:
        return float(length)
    return (first - times[i]) / 1e6 if i >= 0 else empty


@kernel("float64(int64[::1], int8[::1], float64)")
def _ceiling(values, status, limit):  # type: ignore[no-untyped-def]
    total = 0.0
    count = 0
    for i in range(len(values) - 1):
        if status[i] == 0 and values[i] != MISSING:
            total += values[i]
            count += 1
    return limit * total / count if count else np.inf


@kernel("boolean(int64, int8, float64)")
def _clean(value, status, ceiling):  # type: ignore[no-untyped-def]
    return value != MISSING and (status == 0 or (status == -1 and value <= ceiling))


@kernel("float64(int64[::1], int8[::1], float64, float64)")
def clean_mean(values, status, limit, empty):  # type: ignore[no-untyped-def]
    """The mean of earlier values that are not suspect.

    Known positives stay out. A value whose label is not known stays out while it exceeds `limit`
    times the mean of the known negatives. With no known negative every other value counts.
    """
    ceiling = _ceiling(values, status, limit)
    total = 0.0
    count = 0
    for i in range(len(values) - 1):
        if _clean(values[i], status[i], ceiling):
            total += values[i]
            count += 1
    return total / count if count else empty
