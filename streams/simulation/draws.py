"""Random draws inside kernels: a generator of one word, weighted choice, and a queue of timed rows.

The generator is SplitMix64 (Steele, Lea and Flood, 2014) with `streams.ident.mix` as its output
function: its whole state is one uint64, so a run can be cut and resumed anywhere. `hashed` is the
same function of a fixed key: what belongs to a customer or a terminal for good is hashed from its
number and needs no memory.
"""

from __future__ import annotations

import math

import numpy as np

from streams.ident import mix
from streams.jit import kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ODD = np.uint64(0xD1342543DE82EF95)
_THIRD = np.uint64((1 << 21) - 1)

SLOT = np.dtype([("keep", np.float64), ("member", np.int32), ("other", np.int32)])
"""One slot of an alias table: the share of it that is `member`'s; the rest is `other`'s."""


@kernel("float64(uint64)")
def unit(word):  # type: ignore[no-untyped-def]
    """A word as a number strictly between 0 and 1."""
    return (np.float64(word >> np.uint64(11)) + 0.5) / 9007199254740992.0


@kernel("float64(uint64)")
def bell(word):  # type: ignore[no-untyped-def]
    """A word as a bell-shaped number of mean 0, variance 1, within ±3: a sum of three uniforms."""
    low = word & _THIRD
    middle = (word >> np.uint64(21)) & _THIRD
    high = (word >> np.uint64(42)) & _THIRD
    return np.float64(low + middle + high) / 1048576.0 - 3.0


@kernel("uint64(uint64, int64, int64, int64)")
def hashed(seed, purpose, who, which):  # type: ignore[no-untyped-def]
    """The word that belongs to (purpose, who, which) under this seed, always the same."""
    word = mix(seed + np.uint64(who + 1) * _GOLDEN)
    return mix(word + (np.uint64(purpose + 1) << np.uint64(32)) * _ODD + np.uint64(which) * _ODD)


@kernel("float64(uint64[::1], int64)")
def uniform(rng, stream):  # type: ignore[no-untyped-def]
    """The next number strictly between 0 and 1 of generator `stream`; rng[stream] is its state."""
    rng[stream] += _GOLDEN
    return unit(mix(rng[stream]))


@kernel("int64(uint64[::1], int64, int64, int64)")
def integer(rng, stream, least, most):  # type: ignore[no-untyped-def]
    """The next whole number from `least` to `most`, both included."""
    return least + np.int64(uniform(rng, stream) * np.float64(most - least + 1))


@kernel("float64(uint64[::1], int64)")
def exponential(rng, stream):  # type: ignore[no-untyped-def]
    """The next exponential number of mean 1."""
    return -math.log(uniform(rng, stream))


@kernel("float64(uint64[::1], int64)")
def normal(rng, stream):  # type: ignore[no-untyped-def]
    """The next standard normal number (Box and Muller, 1958)."""
    radius = math.sqrt(2.0 * exponential(rng, stream))
    return radius * math.cos(2.0 * math.pi * uniform(rng, stream))


@kernel()
def weigh(weights, start, stop, slots):  # type: ignore[no-untyped-def]
    """Settle slots start..stop, (n,) of `SLOT` with members, so that `choose` goes by weights.

    An alias table (Walker, 1977; Vose, 1991): a choice reads one slot, however many there are.
    """
    total = 0.0
    for i in range(start, stop):
        total += weights[i]
    small = np.empty(stop - start, np.int64)
    large = np.empty(stop - start, np.int64)
    smalls = 0
    larges = 0
    for i in range(start, stop):
        slots[i]["keep"] = weights[i] * (stop - start) / total
        slots[i]["other"] = slots[i]["member"]
        if slots[i]["keep"] < 1.0:
            small[smalls] = i
            smalls += 1
        else:
            large[larges] = i
            larges += 1
    while smalls and larges:
        poor = small[smalls - 1]
        rich = large[larges - 1]
        smalls -= 1
        slots[poor]["other"] = slots[rich]["member"]
        slots[rich]["keep"] -= 1.0 - slots[poor]["keep"]
        if slots[rich]["keep"] < 1.0:
            larges -= 1
            small[smalls] = rich
            smalls += 1


@kernel()
def choose(slots, start, stop, share):  # type: ignore[no-untyped-def]
    """The member of slots start..stop that a uniform `share` falls on, in proportion to weights."""
    place = share * np.float64(stop - start)
    slot = np.int64(place)
    if place - np.float64(slot) < slots[start + slot]["keep"]:
        return np.int64(slots[start + slot]["member"])
    return np.int64(slots[start + slot]["other"])


@kernel("boolean(int64[::1], int64[::1])")
def before(row, than):  # type: ignore[no-untyped-def]
    """Whether a row comes first: by column 0, its time, then by column 1, its rank."""
    return row[0] < than[0] or (row[0] == than[0] and row[1] < than[1])


@kernel("int64(int64[:, ::1], int64, int64[::1])")
def push(queue, size, row):  # type: ignore[no-untyped-def]
    """Put a row into a binary heap of `size` rows; the new size. The array must have room."""
    child = size
    while child > 0:
        parent = (child - 1) // 2
        if not before(row, queue[parent]):
            break
        queue[child] = queue[parent]
        child = parent
    queue[child] = row
    return size + 1


@kernel("int64(int64[:, ::1], int64, int64[::1])")
def pop(queue, size, row):  # type: ignore[no-untyped-def]
    """Take the first row of a heap of `size` >= 1 rows out into `row`; the new size."""
    row[:] = queue[0]
    size -= 1
    parent = 0
    while 2 * parent + 1 < size:
        child = 2 * parent + 1
        if child + 1 < size and before(queue[child + 1], queue[child]):
            child += 1
        if not before(queue[child], queue[size]):
            break
        queue[parent] = queue[child]
        parent = child
    queue[parent] = queue[size]
    return size
