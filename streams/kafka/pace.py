"""When what was made of records is sent: so long after they came, however long it took.

A record waits a moment for others to be sent with it. While it was being made others were on their
way already, so that time counts. librdkafka cannot count it: its own wait begins when it is given
the record, and lasts whole milliseconds. So it is told to wait for half as long, which leaves time
to give it all records of a batch, and the consumer that handed out what they were made of wakes it
when they are due.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

NEVER = math.inf, math.inf


class Lingers(Protocol):
    """Who has records wait."""

    due: tuple[float, float]
    """From when on they can go and when they are to; NEVER while there are none."""

    def hurry(self) -> None:
        """Have them go."""


class Pace:
    """Of one consumer: when the records it handed out last had come, and where what is made of them
    waits.

    >>> now = 5.0
    >>> pace = Pace(lambda: now)
    >>> pace.take(came=now)
    >>> pace.due(1.0), pace.left()
    ((5.5, 6.0), inf)
    >>> now = 5.75
    >>> pace.due(1.0)
    (6.25, 6.25)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._came = clock, clock()
        self._lanes: tuple[Lingers, ...] = ()

    def join(self, lane: Lingers) -> None:
        """Have its records go in time from now on."""
        self._lanes = (*self._lanes, lane)

    def take(self, came: float) -> None:
        """Records are handed out now that came then; nothing goes until something is made of them.

        What can go does before that.
        """
        self._came, now = came, self._clock()
        for each in self._lanes:
            if each.due[0] <= now:
                each.hurry()

    def due(self, linger: float) -> tuple[float, float]:
        """When a record goes that is sent now and waits for `linger` seconds."""
        can = self._clock() + linger / 2
        return can, max(self._came + linger, can)

    def left(self) -> float:
        """Seconds until something is due, negative if it has been for a while."""
        due = min((each.due[1] for each in self._lanes), default=math.inf)
        return due - self._clock()

    def keep(self) -> None:
        """Have go what is due."""
        for each in self._lanes:
            if each.due[1] <= self._clock():
                each.hurry()
