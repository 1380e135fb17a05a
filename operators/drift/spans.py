"""Spans of event time: the scores of their events, and the labels that have come for them so far.

A span holds, for all events and for each value of a slice, how many events had a score of each
place, how many of them are known to be genuine and how many to be frauds, how long the labels of
the frauds took, and how many events each part of the span had. All are counts, so that any cut of
the examples into buckets leaves the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.drift.bucket import SCALE, SURE, Bucket, Matured
from operators.drift.sketch import (
    BINS,
    BLOCK,
    BLOCK_BITS,
    BLOCKS,
    HALF,
    LEAST,
    bin_at,
)
from streams.errors import ConfigError
from streams.jit import kernel
from streams.schema import DAY, duration_us

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

PLACES = HALF + 1
"""Places of a score: the bins of its scaled odds in a sketch, without the negative ones."""
_ENDS = np.log(np.concatenate([LEAST[:1] * LEAST[0] / LEAST[1], LEAST, 2 * LEAST[-8:-7]]) / SCALE)
LOG_ODDS = (_ENDS[1:] + _ENDS[:-1]) / 2
"""(PLACES,) the log-odds in the middle of a place."""
PARTS = 24
"""Of a span: how many events each had is kept, but for a factor."""
_OCTAVES, _PER_OCTAVE = 18, 8
DELAYS = _OCTAVES * _PER_OCTAVE
"""Bins of a delay: eighths of an octave from 64 s to 194 days; the first has what is less too."""
DELAY_ENDS_US = 64e6 * 2.0 ** ((np.arange(DELAYS) + 1.0) / _PER_OCTAVE)
"""Where they end, in microseconds."""

_GENUINE, _FRAUDS, _TOOK = PLACES, 2 * PLACES, 3 * PLACES
_WHEN = _TOOK + DELAYS
WIDTH = _WHEN + PARTS
EVENTS, GENUINE = slice(0, _GENUINE), slice(_GENUINE, _FRAUDS)
FRAUDS, TOOK, WHEN = slice(_FRAUDS, _TOOK), slice(_TOOK, _WHEN), slice(_WHEN, WIDTH)
NONE = -(2**62)
_BELOW = (1 << (HALF >> BLOCK_BITS)) - 1
"""The blocks of a sketch that are of numbers below 0."""


def span_of(span: str, bucket: str) -> int:
    """A span in microseconds. ConfigError where it is not of whole hours, or of whole buckets."""
    span_us = duration_us(span)
    if span_us % (DAY // 24) or span_us % duration_us(bucket) or not span_us:
        raise ConfigError(
            f"watch: wanted a span of so many hours, and of so many times {bucket}, the bucket; "
            f"got {span}"
        )
    return span_us


class Rows:
    """What is watched apart: all events first, then every value of each slice.

    >>> Rows({"country": ("DE", "FR")}).names
    (('', ''), ('country', 'DE'), ('country', 'FR'))
    """

    def __init__(self, slices: Mapping[str, Sequence[str]] | None = None) -> None:
        held = slices or {}
        self.sizes = np.array([len(values) for values in held.values()], np.int64)
        self.first = 1 + np.cumsum(self.sizes) - self.sizes
        self.names = (("", ""), *((name, v) for name, values in held.items() for v in values))

    def __len__(self) -> int:
        return len(self.names)

    def count(self, told: Matured) -> Int64s:
        """How many examples are of each, (rows,)."""
        stands = told.stands if len(told.stands) else np.ones(len(told), np.int64)
        own = np.zeros(len(self), np.int64)
        own[0] = stands.sum()
        for first, size, code in zip(self.first, self.sizes, told.codes.T, strict=True):
            there = (code >= 0) & (code < size)
            np.add.at(own, first + code[there], stands[there])
        return own


class Spans:
    """The spans that still wait for labels: those that began within the maturity, and one more.

    Scores count as settled from `settle_us` after the first version that has learnt anything on:
    those of the first versions go on changing. Memory: 7.5 kB a span and row. Without `all_labels`
    only those of frauds are counted. Labels for older spans are left out, and counted as late.
    """

    def __init__(
        self, rows: Rows, span_us: int, maturity_us: int, *, all_labels: bool, settle_us: int = 0
    ) -> None:
        self._all, self._settle_us = all_labels, settle_us
        self.rows, self.span_us, self.maturity_us = rows, span_us, maturity_us
        self.held = -(-maturity_us // span_us) + 2
        self.cells = np.zeros((self.held, len(rows), WIDTH), np.int64)
        self.clock = np.array([NONE, NONE, NONE, 0, -NONE], np.int64)
        """The span that is open, the first that is not over, the first whose labels are not all in,
        how many labels were late, and the first span of settled scores."""

    @property
    def open(self) -> int:
        """The number of the span that is open: its start is that many spans after 1970."""
        return int(self.clock[0])

    def of(self, number: int) -> Int64s:
        """The counts of a span, (rows, WIDTH)."""
        return np.asarray(self.cells[number % self.held], np.int64)

    @property
    def settled(self) -> int:
        """The first span of settled scores."""
        return int(self.clock[4])

    def take(self, bucket: Bucket) -> tuple[list[int], list[int]]:
        """Count a bucket. Returns the spans that it ends, and those whose labels are now all in."""
        if bucket.version and self.clock[4] == -NONE:
            self.clock[4] = -(-(bucket.start_us + self._settle_us) // self.span_us)
        told, scores = bucket.matured, bucket.scores
        done, over, known, whole = _take(
            bucket.start_us, bucket.end_us, scores.counts, scores.blocks, told.time_us,
            told.known_us, told.score, told.y, told.codes, told.stands, self.rows.first,
            self.rows.sizes, self.span_us, self.maturity_us, self._all, self.clock, self.cells,
        )  # fmt: skip
        if over < done:
            raise ValueError("bucket: wanted scaled odds as scores, which are above 0; got others")
        if over == done and whole == known:
            return [], []
        return list(range(done, over)), list(range(known, whole))

    def parts(self) -> dict[str, npt.NDArray[Any]]:
        """All that changes, by name."""
        return {"cells": self.cells, "clock": self.clock}


@kernel("int64(float64)")
def place(score: float) -> int:
    """The place of a score: that which a sketch of its scaled odds counts it in.

    >>> place(0.0), place(0.5), place(1.0)
    (0, 129, 256)
    """
    sure = min(max(score, SURE), 1.0 - SURE)
    return int(bin_at(np.float64(SCALE * sure / (1.0 - sure)).view(np.int64)) - HALF)


@kernel()
def _labels(  # type: ignore[no-untyped-def]
    newest, oldest, time_us, known_us, score, y, codes, stands, first, sizes, span_us, every, cells
):
    """Count labels in the spans of their events; how many were for spans no longer held."""
    late = number = slot = 0
    begin = end = np.int64(0)
    for i in range(len(time_us)):
        if y[i] == 0 and not every:
            continue
        weight = stands[i] if len(stands) else 1
        if not begin <= time_us[i] < end:
            number = time_us[i] // span_us
            begin, end = number * span_us, (number + 1) * span_us
            number = min(number, newest)
            slot = number % len(cells)
        if number < oldest or number <= newest - len(cells):
            late += weight
            continue
        own = cells[slot]
        took = 0
        if y[i] == 1:
            octaves = np.log2(max(known_us[i] - time_us[i], 1) / 64e6)
            took = _TOOK + int(min(max(np.floor(octaves * _PER_OCTAVE), 0.0), DELAYS - 1.0))
        at = _GENUINE + PLACES * y[i] + place(score[i])
        for column in range(-1, len(sizes)):
            row = 0
            if column >= 0:
                code = codes[i, column]
                if code < 0 or code >= sizes[column]:
                    continue
                row = first[column] + code
            own[row, at] += weight
            if took:
                own[row, took] += weight
    return late


@kernel(
    "UniTuple(int64, 4)(int64, int64, int64[:, ::1], int64[::1],"
    " Array(int64, 1, 'A', readonly=True), Array(int64, 1, 'A', readonly=True),"
    " Array(float64, 1, 'A', readonly=True), Array(int8, 1, 'A', readonly=True),"
    " Array(int64, 2, 'A', readonly=True), int64[::1], int64[::1], int64[::1], int64, int64,"
    " boolean, int64[::1], int64[:, :, ::1])"
)
def _take(  # type: ignore[no-untyped-def]
    start_us, end_us, counts, blocks, time_us, known_us, score, y, codes, stands, first, sizes,
    span_us, maturity_us, every, clock, cells,
):  # fmt: skip
    """What `Spans.take` does: two ranges of spans, those ended and those whose labels are in.

    The first ends before it begins where scores are below 0; then nothing was counted.
    """
    held, number = len(cells), start_us // span_us
    for row in range(len(counts)):
        for at in range(HALF if blocks[row] & _BELOW else 0):
            if counts[row, at]:
                return 0, -1, 0, 0
    if clock[0] == NONE:
        clock[:3] = number
    for each in range(max(clock[0] + 1, number - held + 1), number + 1):
        cells[each % held] = 0
    clock[0] = number
    since = start_us - number * span_us
    part = since * PARTS // span_us
    ends = min(-(-(since + end_us - start_us) * PARTS // span_us), PARTS)
    own = cells[number % held]
    for row in range(len(counts)):
        n = np.int64(0)
        for block in range(HALF >> BLOCK_BITS, BLOCKS):
            if blocks[row] >> block & 1:
                for at in range(block * BLOCK, min((block + 1) * BLOCK, BINS)):
                    own[row, at - HALF] += counts[row, at]
                    n += counts[row, at]
        for at in range(part, ends):
            own[row, _WHEN + at] += n * PARTS // (ends - part)
    clock[3] += _labels(
        number, clock[2], time_us, known_us, score, y, codes, stands, first, sizes, span_us, every,
        cells,
    )  # fmt: skip
    done, known, oldest = clock[1], clock[2], number - held + 1
    clock[1] = max(done, end_us // span_us)
    clock[2] = max(known, (end_us - maturity_us) // span_us)
    done, known = max(done, oldest), max(known, oldest)
    return done, max(done, clock[1]), known, max(known, clock[2])
