"""Notes when each prediction of a run is there."""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jobs.load.clients import consumer
from jobs.load.schedule import Int64s
from jobs.load.traffic import NUMBERS
from streams.kafka.library import Partition

MANY = 10_000
WAIT_S = 0.05


class Watch(NamedTuple):
    """Which predictions to wait for, and how long."""

    topic: str
    start: int
    """The offset to begin at."""
    run: int
    first: int
    """The number of the first event; the others follow."""
    events: int
    until_ns: int
    """When the monotonic clock shows this, what is not there is missing."""


class Heard(NamedTuple):
    """The predictions that came, repeats among them, in the order they came."""

    numbers: Int64s
    """Whose: the event's place in the run, from 0."""
    at_ns: Int64s
    """What the monotonic clock showed."""
    bytes: int
    """Length of all their values."""


class Subscriber:
    """One consumer of a topic's only partition."""

    def __init__(self, connection: Mapping[str, Any]) -> None:
        self._consumer = consumer(connection)

    def __call__(self, watch: Watch) -> Heard:
        """Take predictions until all are there or the time is up."""
        self._consumer.assign([Partition(watch.topic, 0, watch.start)])
        whose = re.compile(rb'"id": ?"%d(\d{%d})"' % (watch.run, len(str(NUMBERS)) - 1))
        numbers, at_ns, size = array("q"), array("q"), 0
        missing, last = watch.events, watch.first + watch.events
        seen = bytearray(watch.events)
        while missing and time.monotonic_ns() < watch.until_ns:
            message = self._consumer.poll(WAIT_S)
            if message is None:
                continue
            messages = [message, *self._consumer.consume(MANY, 0)]
            # Only now: what came while this process waited for its turn was not there before.
            now = time.monotonic_ns()
            for message in messages:
                value = message.value()
                if message.error() or value is None:
                    continue
                found = whose.search(value)
                number = int(found[1]) if found else NUMBERS
                if watch.first <= number < last:
                    number -= watch.first
                    numbers.append(number)
                    at_ns.append(now)
                    size += len(value)
                    missing -= not seen[number]
                    seen[number] = 1
        self._consumer.unassign()
        return Heard(np.array(numbers), np.array(at_ns), size)
