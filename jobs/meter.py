"""How fast a run goes: events a second, and how long an event waits for its score."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from jobs.latency import Latencies
from jobs.local import Step
from streams.batch import EVENT

SAMPLES = 1200


class Meter:
    """Takes the steps of a run; says its throughput over time and its latencies.

    An event's latency is the time the flow took for the batch that it was in, with whatever was
    learnt on the way; batches of one are counted apart. When there are `SAMPLES` samples of
    throughput, neighbours are merged and samples become twice as long.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began = self._sampled = clock()
        self._since = 0
        self._period = 1.0
        self.seconds = 0.0
        """From the start to the last step."""
        self.events = 0
        self.batched, self.single = Latencies(), Latencies()
        self.rates: list[tuple[float, float]] = []
        """(seconds since the start, events a second until then)."""
        self.version = (0, 0)
        """The version that scored last, and the time of the first event it scored."""

    @property
    def mean_rate(self) -> float:
        """Events a second from the start to the last step."""
        return self.events / self.seconds if self.seconds else 0.0

    def take(self, step: Step) -> None:
        """Count a step that has just been done."""
        events = int(np.count_nonzero(step.batch.kind == EVENT))
        if events:
            (self.single if len(step.batch) == 1 else self.batched).add(step.seconds, events)
        if len(step.scored) and step.scored.version[-1] != self.version[0]:
            sequence = int(step.scored.version[-1])
            first = step.scored.rows[np.searchsorted(step.scored.version, sequence)]
            self.version = sequence, int(step.batch.time[first])
        self.events += events
        self._since += events
        now = self._clock()
        self.seconds = now - self._began
        if now - self._sampled >= self._period:
            self.rates.append((self.seconds, self._since / (now - self._sampled)))
            self._sampled, self._since = now, 0
            if len(self.rates) == SAMPLES:
                self._thin()

    def _thin(self) -> None:
        pairs = zip(self.rates[::2], self.rates[1::2], strict=True)
        self.rates = [(at, (before + rate) / 2) for (_, before), (at, rate) in pairs]
        self._period *= 2
