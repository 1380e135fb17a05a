"""Sends records to a broker, each when it is due, and says how that goes.

Events and labels are two topics, which a job merges by the stamps that the broker gives them. Paced
records get stamps in their order. Without a pace they would all get the same ones, so once there
are labels nothing is sent until what lies `SPAN_US` of its time before it is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from jobs.clients.outgoing import Records
from jobs.clients.pace import Floats, Pace
from streams.broker import Producer

MOST_WAITING = 100_000
"""Records that the broker has not acknowledged; with more, sending waits, and is late."""
SPAN_US = 3_600_000_000
TICK_S = 0.0005
"""The shortest sleep: what is due within it goes together."""
NAP_S = 0.05
"""The longest, so that an end that is asked for is noticed."""


class Topics(NamedTuple):
    """Where events and labels go, by full name."""

    events: str
    labels: str


class Sent(NamedTuple):
    """What has been handed to the client so far."""

    events: int = 0
    labels: int = 0
    seconds: float = 0.0
    """Since the first was due."""
    late: float = 0.0
    """Seconds after it was due that the last record went."""
    latest: float = 0.0
    """The most of any."""
    time_us: int = 0
    """The time of the last record."""


class Publisher:
    """Hands over records at a pace. `ended` asks it to stop; `watch` is told now and then.

    `in_order`: wait for the broker as is said above.
    """

    def __init__(
        self,
        producer: Producer,
        topics: Topics,
        pace: Pace,
        *,
        in_order: bool,
        ended: Callable[[], bool],
        watch: Callable[[Sent], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._producer, self._topics, self._pace = producer, topics, pace
        self._ended, self._watch = ended, watch
        self._clock, self._sleep = clock, sleep
        self._began: float | None = None
        self._in_order, self._labels = in_order, False
        self._until_us = 0
        self.sent = Sent()

    def run(self, records: Iterable[Records]) -> Sent:
        """Send them all, or those until the end is asked for; nothing is flushed."""
        for each in records:
            due = self._pace.due(each)
            self._labels |= bool(each.label.any())
            if self._began is None:
                self._began = self._clock()
            if not self._send(each, due, self._began):
                break
        return self.sent

    def _send(self, records: Records, due: Floats, began: float) -> bool:
        """Send these in order as they fall due; False when the end came first."""
        done = 0
        while done < len(due):
            if self._ended():
                return False
            now = self._clock() - began
            self._producer.poll()
            fallen = int(np.searchsorted(due, now, side="right"))
            if self._producer.waiting >= MOST_WAITING:
                self._producer.poll(NAP_S)
            elif self._in_order and int(records.time[done]) >= self._until_us:
                if not self._labels or self._producer.flush(NAP_S):
                    self._until_us = int(records.time[done]) + SPAN_US
            elif fallen <= done:
                self._sleep(min(max(float(due[done]) - now, TICK_S), NAP_S))
            else:
                if self._in_order:
                    fallen = int(np.searchsorted(records.time, self._until_us))
                self._hand_over(records, done, fallen)
                self._note(records, done, fallen, now, float(due[done]))
                done = fallen
            self._watch(self.sent)
        return True

    def _hand_over(self, records: Records, start: int, stop: int) -> None:
        label = records.label[start:stop]
        for topic, rows in (
            (self._topics.labels, np.flatnonzero(label)),
            (self._topics.events, np.flatnonzero(~label)),
        ):
            if len(rows):
                values, keys = records.values[start:stop], records.keys[start:stop]
                self._producer.send(
                    topic, [values[row] for row in rows], [keys[row] for row in rows]
                )

    def _note(self, records: Records, start: int, stop: int, now: float, due: float) -> None:
        labels = int(np.count_nonzero(records.label[start:stop]))
        self.sent = Sent(
            self.sent.events + stop - start - labels,
            self.sent.labels + labels,
            now,
            now - due,
            max(self.sent.latest, now - due),
            int(records.time[stop - 1]),
        )
