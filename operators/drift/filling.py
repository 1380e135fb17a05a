"""Events into an open bucket: one pass over inputs and scores, up to where the bucket ends."""

from __future__ import annotations

from operators.drift.sketch import BLOCK_BITS, bin_at, count
from streams.jit import kernel


@kernel(
    "UniTuple(int64, 4)(int64, int64[::1], int64[:, ::1], int64[::1], int64[::1], int64[:, ::1],"
    " int64[::1], UniTuple(int64, 6),"
    " int64[:, ::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int64[::1])"
)
def fill(  # type: ignore[no-untyped-def]
    start, at_us, x, odds, version, codes, sizes, open_,
    counts, missing, blocks, score_counts, score_missing, score_blocks,
):  # fmt: skip
    """Count events from `start` on, in order of their cells, until one begins another bucket.

    `open_`: microseconds of a cell, the cell up to which time has come, events so far, how many of
    them let the bucket end with a cell, the cell before which it ends at the latest, the newest
    version so far. Returns the first event that is not counted, and what has become of the cell,
    the events and the version. Inputs and odds are given by their bits.
    """
    cell_us, cell, events, least, end, newest = open_
    next_us, before, told, i = (cell + 1) * cell_us, events, 0, start
    while i < len(at_us):
        if at_us[i] >= next_us:
            ahead = at_us[i] // cell_us
            if events >= least or ahead >= end:
                break
            cell, next_us = ahead, (ahead + 1) * cell_us
        events += 1
        newest = max(newest, version[i])
        at = bin_at(odds[i])
        if at >= 0:
            told += 1
            score_counts[0, at] += 1
            score_blocks[0] |= 1 << (at >> BLOCK_BITS)
            first = 1
            for place in range(len(sizes)):
                code = codes[i, place]
                if 0 <= code < sizes[place]:
                    score_counts[first + code, at] += 1
                    score_blocks[first + code] |= 1 << (at >> BLOCK_BITS)
                    score_missing[first + code] -= 1
                first += sizes[place]
        i += 1
    count(start, i, x, counts, missing, blocks)
    score_missing[0] -= told
    for row in range(len(score_missing)):
        score_missing[row] += events - before
    return i, cell, events, newest
