"""Spans of event time: the scores of their events, and the labels that have come for them so far.

A span holds, for all events and for each value of a slice, how many events had a score of each
place, how many of them are known to be genuine and how many to be frauds, how long the labels of
the frauds took, and how many events each part of the span had. All are counts, so that any cut of
the examples into buckets leaves the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.drift.bucket import SCALE, SURE, Bucket
from operators.drift.sketch import HALF, LEAST, LOW, PER_OCTAVE
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
        number = bucket.start_us // self.span_us
        if self.open == NONE:
            self.clock[:3] = number
        if bucket.version and self.clock[4] == -NONE:
            self.clock[4] = -(-(bucket.start_us + self._settle_us) // self.span_us)
        for each in range(max(self.open + 1, number - self.held + 1), number + 1):
            self.cells[each % self.held] = 0
        self.clock[0] = number
        told, since = bucket.matured, bucket.start_us - number * self.span_us
        part = since * PARTS // self.span_us
        ends = -(-(since + bucket.end_us - bucket.start_us) * PARTS // self.span_us)
        where = np.array(
            [self.span_us, number, self.clock[2], part, min(ends, PARTS), self._all], np.int64
        )
        late = _count(
            bucket.scores.counts, told.time_us, told.known_us, told.score, told.y, told.codes,
            self.rows.first, self.rows.sizes, where, self.cells,
        )  # fmt: skip
        if late < 0:
            raise ValueError("bucket: wanted scaled odds as scores, which are above 0; got others")
        self.clock[3] += late
        first, oldest = self.clock[1:3].tolist(), number - self.held + 1
        over = bucket.end_us // self.span_us
        whole = (bucket.end_us - self.maturity_us) // self.span_us
        self.clock[1:3] = max(first[0], over), max(first[1], whole)
        return (
            list(range(max(first[0], oldest), over)),
            list(range(max(first[1], oldest), whole)),
        )

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
    fraction, exponent = math.frexp(SCALE * sure / (1.0 - sure))
    within = np.int64((2.0 * fraction - 1.0) * PER_OCTAVE)
    at = int((exponent - 1 - LOW) * PER_OCTAVE + within + 1)
    return min(max(at, 0), HALF)


@kernel(
    "int64(int64[:, ::1], Array(int64, 1, 'A', readonly=True),"
    " Array(int64, 1, 'A', readonly=True), Array(float64, 1, 'A', readonly=True),"
    " Array(int8, 1, 'A', readonly=True), Array(int64, 2, 'A', readonly=True), int64[::1],"
    " int64[::1], int64[::1], int64[:, :, ::1])"
)
def _count(  # type: ignore[no-untyped-def]
    counts, time_us, known_us, score, y, codes, first, sizes, where, cells
):
    """Count events in the open span, and labels in those of their events.

    Returns how many labels were for spans no longer held; -1 of scores below 0.
    """
    span_us, newest, oldest, part, ends, every = where
    own = cells[newest % len(cells)]
    for row in range(len(counts)):
        n = np.int64(0)
        for at in range(HALF):
            if counts[row, at]:
                return -1
        for at in range(PLACES):
            own[row, at] += counts[row, HALF + at]
            n += counts[row, HALF + at]
        for at in range(part, ends):
            own[row, _WHEN + at] += n * PARTS // (ends - part)
    late = 0
    for i in range(len(time_us)):
        if y[i] == 0 and not every:
            continue
        number = min(time_us[i] // span_us, newest)
        if number < oldest or number <= newest - len(cells):
            late += 1
            continue
        own = cells[number % len(cells)]
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
            own[row, at] += 1
            if took:
                own[row, took] += 1
    return late
