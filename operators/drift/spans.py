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

from operators.drift.bucket import SCALE, Bucket, scaled_odds
from operators.drift.sketch import HALF, LEAST, PER_OCTAVE
from streams.jit import kernel

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

PLACES = HALF + 1
"""Places of a score: the bins of its scaled odds in a sketch, without the negative ones."""
_ENDS = np.log(np.concatenate([LEAST[:1] * LEAST[0] / LEAST[1], LEAST, 2 * LEAST[-8:-7]]) / SCALE)
LOG_ODDS = (_ENDS[1:] + _ENDS[:-1]) / 2
"""(PLACES,) the log-odds in the middle of a place."""
_SHIFT = 53 - PER_OCTAVE.bit_length()
_BELOW = int(LEAST[:1].view(np.int64)[0] >> _SHIFT) - 1
"""Cutting off the last bits of scaled odds leaves their place."""
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

    Memory: 7.5 kB a span and row. Labels for older spans are counted as `late` and left out.
    """

    def __init__(self, rows: Rows, span_us: int, maturity_us: int) -> None:
        self.rows, self.span_us, self.maturity_us = rows, span_us, maturity_us
        self.held = -(-maturity_us // span_us) + 2
        self.cells = np.zeros((self.held, len(rows), WIDTH), np.int64)
        self.clock = np.array([NONE, NONE, NONE, 0], np.int64)
        """The span that is open, the first that is not over, the first whose labels are not all in,
        and how many labels were late."""

    @property
    def open(self) -> int:
        """The number of the span that is open: its start is that many spans after 1970."""
        return int(self.clock[0])

    def of(self, number: int) -> Int64s:
        """The counts of a span, (rows, WIDTH)."""
        return np.asarray(self.cells[number % self.held], np.int64)

    def take(self, bucket: Bucket) -> tuple[list[int], list[int]]:
        """Count a bucket. Returns the spans that it ends, and those whose labels are now all in."""
        number = bucket.start_us // self.span_us
        if self.open == NONE:
            self.clock[:3] = number
        for each in range(max(self.open + 1, number - self.held + 1), number + 1):
            self.cells[each % self.held] = 0
        self.clock[0] = number
        if bucket.scores.counts[:, :HALF].any():
            raise ValueError("bucket: wanted scaled odds as scores, which are above 0; got others")
        own = self.of(number)
        own[:, EVENTS] += bucket.scores.counts[:, HALF:]
        begin, end = (
            (us - number * self.span_us) * PARTS for us in (bucket.start_us, bucket.end_us)
        )
        parts = slice(begin // self.span_us, min(-(-end // self.span_us), PARTS))
        each = bucket.scores.counts.sum(axis=1) * PARTS // (parts.stop - parts.start)
        own[:, WHEN][:, parts] += each[:, None]
        self._label(bucket)
        first, oldest = self.clock[1:3].tolist(), number - self.held + 1
        over = bucket.end_us // self.span_us
        whole = (bucket.end_us - self.maturity_us) // self.span_us
        self.clock[1:3] = max(first[0], over), max(first[1], whole)
        return (
            list(range(max(first[0], oldest), over)),
            list(range(max(first[1], oldest), whole)),
        )

    def _label(self, bucket: Bucket) -> None:
        told = bucket.matured
        self.clock[3] += _label(
            told.time_us, told.known_us, places(told.score), told.y, told.codes,
            self.rows.first, self.rows.sizes,
            np.array([self.span_us, self.open, self.clock[2]]), self.cells,
        )  # fmt: skip

    def parts(self) -> dict[str, npt.NDArray[Any]]:
        """All that changes, by name."""
        return {"cells": self.cells, "clock": self.clock}


def places(score: Floats) -> Int64s:
    """The places of scores: those that a sketch of their scaled odds counts them in."""
    at = (scaled_odds(score).view(np.int64) >> _SHIFT) - _BELOW
    return np.clip(at, 0, HALF)


@kernel(
    "int64(Array(int64, 1, 'A', readonly=True), Array(int64, 1, 'A', readonly=True),"
    " Array(int64, 1, 'A', readonly=True), Array(int8, 1, 'A', readonly=True),"
    " Array(int64, 2, 'A', readonly=True), int64[::1], int64[::1], int64[::1], int64[:, :, ::1])"
)
def _label(  # type: ignore[no-untyped-def]
    time_us, known_us, place, y, codes, first, sizes, clock, cells
):
    """Count labels in the spans of their events; returns how many were for spans no longer held."""
    span_us, newest, oldest = clock[0], clock[1], clock[2]
    late = 0
    for i in range(len(time_us)):
        number = min(time_us[i] // span_us, newest)
        if number < oldest or number <= newest - len(cells):
            late += 1
            continue
        own = cells[number % len(cells)]
        at = _GENUINE + PLACES * y[i] + place[i]
        octaves = np.log2(max(known_us[i] - time_us[i], 1) / 64e6)
        took = _TOOK + min(max(np.int64(np.floor(octaves * _PER_OCTAVE)), 0), DELAYS - 1)
        for column in range(-1, len(sizes)):
            row = 0
            if column >= 0:
                code = codes[i, column]
                if code < 0 or code >= sizes[column]:
                    continue
                row = first[column] + code
            own[row, at] += 1
            if y[i] == 1:
                own[row, took] += 1
    return late
