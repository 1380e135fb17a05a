"""When each record is to be sent: by a rate, by the records' own time, or at once.

The schedule is open loop: it is made of the records alone, and neither a slow broker nor a late
sender moves it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count
from typing import Protocol

import numpy as np
import numpy.typing as npt

from jobs.clients.outgoing import Records
from jobs.load.schedule import BURST_EVERY_S, SECOND_NS, Arrivals, schedule

Floats = npt.NDArray[np.float64]
BLOCK = 1000
"""Events of a schedule that are made at a time, at least."""


class Pace(Protocol):
    """Asked about records in their order, each once."""

    def due(self, records: Records) -> Floats:
        """Seconds after the first at which each is to be sent, (n,), never falling."""


class AtOnce:
    """As fast as the broker takes them."""

    def due(self, records: Records) -> Floats:
        return np.zeros(len(records.time))


class ByTime:
    """By the records' time, `speed` times as fast."""

    def __init__(self, speed: float) -> None:
        self._per_us = 1e-6 / speed
        self._first: int | None = None

    def due(self, records: Records) -> Floats:
        if self._first is None:
            self._first = int(records.time[0])
        return (records.time - self._first) * self._per_us


class ByRate:
    """So many events a second; a label goes with the event before it."""

    def __init__(self, rate: float, arrivals: Arrivals = "steady") -> None:
        self._blocks = _blocks(rate, arrivals)
        self._ready = np.empty(0)
        self._last = 0.0

    def due(self, records: Records) -> Floats:
        out = np.empty(len(records.label))
        events = self._take(int(np.count_nonzero(~records.label)))
        before = np.cumsum(~records.label)
        moments = np.append(self._last, events)
        out[:] = moments[before]
        self._last = float(moments[-1])
        return out

    def _take(self, n: int) -> Floats:
        while len(self._ready) < n:
            self._ready = np.append(self._ready, next(self._blocks))
        taken, self._ready = self._ready[:n], self._ready[n:]
        return taken


def _blocks(rate: float, arrivals: Arrivals) -> Iterator[Floats]:
    """A schedule without end, in seconds."""
    seconds = BURST_EVERY_S * math.ceil(BLOCK / (rate * BURST_EVERY_S))
    for block in count():
        yield schedule(arrivals, rate, seconds, seed=block) / SECOND_NS + block * seconds
