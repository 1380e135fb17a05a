"""What happens to a key with more events than its cap: the oldest half of its ring is merged into
panes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.ring import (
    BOUNDS,
    EVER,
    HEADER,
    ID,
    LABEL_WORD,
    LABELLED,
    MISSING,
    PANE,
    RETENTION,
    STRIDE,
    place,
    positives,
    recount,
    weight,
)
from streams.jit import kernel

Int64s = npt.NDArray[np.int64]


@kernel("boolean(int64[::1], int64[::1], int64[::1], int64, int64, int64)")
def same_pane(
    words: Int64s, shape: Int64s, ages: Int64s, left: int, right: int, newest: int
) -> bool:
    """Whether two neighbours may be merged: if they lie in one cell of the grid for their age.

    Cells are powers of two wide, so those for greater ages are made of whole ones for lesser, and a
    pane that was merged when it was young never reaches out of the cell it is in later.
    """
    age = newest - words[left]
    span = shape[RETENTION]
    for b in range(shape[BOUNDS]):
        if age <= ages[b] < span:
            span = ages[b]
    width = 1
    while width <= span >> 9:
        width <<= 1
    return bool(words[left] // width == words[right] // width)


@kernel("void(int64[::1], int64[::1], int64, int64)")
def merge(words: Int64s, shape: Int64s, left: int, right: int) -> None:
    """Add the right neighbour to the left one, making it a pane."""
    total = weight(words, left) + weight(words, right)
    first = LABEL_WORD
    if shape[LABELLED]:
        labelled = positives(words, left, EVER) + positives(words, right, EVER)
        words[left + LABEL_WORD] = labelled << 2 | PANE
        first += 1
    for w in range(first, shape[STRIDE]):
        if words[right + w] == MISSING:
            continue
        kept = words[left + w]
        words[left + w] = words[right + w] + (0 if kept == MISSING else kept)
    words[left] = words[right]
    words[left + ID] = -total


@kernel("void(int64[::1], int64[::1], int64[::1], int64, int64, boolean)")
def merge_once(
    words: Int64s, shape: Int64s, ages: Int64s, base: int, capacity: int, pairs: bool
) -> None:
    """Merge neighbours in the oldest half of the ring, never across a boundary: those of one pane,
    or with `pairs` each two, whatever their distance.
    """
    count = words[base + HEADER] >> 32
    newest = words[place(words, shape, base, capacity, count - 1)]
    kept = 0
    target = base
    joined = False
    shift = np.zeros(shape[BOUNDS], np.int64)
    for i in range(count):
        source = place(words, shape, base, capacity, i)
        alone = not joined
        joined = False
        if kept > 0 and i < count // 2:
            joined = alone if pairs else same_pane(words, shape, ages, target, source, newest)
            for b in range(shape[BOUNDS]):
                if i == words[base + HEADER + b] >> 32:
                    joined = False
        if joined:
            merge(words, shape, target, source)
            for b in range(shape[BOUNDS]):
                if i < words[base + HEADER + b] >> 32:
                    shift[b] += 1
        else:
            target = place(words, shape, base, capacity, kept)
            for w in range(shape[STRIDE]):
                words[target + w] = words[source + w]
            kept += 1
    for b in range(shape[BOUNDS]):
        words[base + HEADER + b] -= shift[b] << 32


@kernel("void(int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int64, int64)")
def merge_panes(
    words: Int64s,
    shape: Int64s,
    ages: Int64s,
    accs: Int64s,
    acc_from: Int64s,
    base: int,
    capacity: int,
) -> None:
    """Make room in a full ring.

    A pane spans at most 1/256 of the smallest window age that still covers it. Should that free too
    little, as it may where a cap is small, each two neighbours are merged: that always frees some,
    by the least cap that a plan may have.
    """
    count = words[base + HEADER] >> 32
    merge_once(words, shape, ages, base, capacity, False)
    if words[base + HEADER] >> 32 >= count - count // 16:
        merge_once(words, shape, ages, base, capacity, True)
    recount(words, base + HEADER, words, shape, accs, acc_from, base, capacity, 0, EVER)
