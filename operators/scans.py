"""Features that look over a key's recent events: kernels on contiguous columns, oldest first, the
current event last.

Each is a pure function of what the key's record holds at that time, so arrival order cannot matter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.jit import kernel

Int64s = npt.NDArray[np.int64]
MISSING = -(2**63)
HOUR_US = 3_600_000_000


@kernel("float64(int64[::1], int64, float64, float64)")
def smallest(values: Int64s, sign: int, scale: float, empty: float) -> float:
    """The least value (sign 1) or the greatest (sign -1)."""
    best = MISSING
    for i in range(len(values)):
        value = values[i]
        if value != MISSING and (best == MISSING or sign * value < sign * best):
            best = value
    return empty if best == MISSING else float(best * scale)


@kernel("float64(int64[::1])")
def distinct(values: Int64s) -> float:
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
def occurrences(values: Int64s) -> float:
    """How many earlier events carry the current event's value: 0 for a new pair."""
    current = values[len(values) - 1]
    found = 0
    for i in range(len(values) - 1):
        found += values[i] == current
    return float(found)


@kernel("float64(int64[::1], int64, float64)")
def hour_share(times: Int64s, width: int, empty: float) -> float:
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
