"""Sending what a job makes of its input, and committing how far it is, so that restarts add up.

At-least-once: positions are committed once the broker has acknowledged all that was made of what
lies before them. Exactly-once: output and positions are one transaction. Either way what is made
again after a restart, of input before the committed positions, is not sent again.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.broker import Consumer, Headers, Producer

Int64s = npt.NDArray[np.int64]
MOST_WAITING = 50_000
"""Records that the broker has not acknowledged; with more, nothing is read."""
COMMIT_SECONDS = 0.5
"""How long a turn waits for a transaction to be committed; the next turn goes on waiting."""
HEAR_SECONDS = 0.002
"""How long to wait for input while an acknowledgement is due, and between two looks for one."""
_NONE = np.empty(0, np.int64)


class _Mark(NamedTuple):
    """A place in the output."""

    sent: int
    """Records that had been sent then."""
    positions: list[int]
    """What they were made of ends here."""
    stamps: Int64s
    """When the broker appended what the last of them were made of."""


class Delivery:
    """The output of one job. `committed` is what the group had committed when it began.

    `commit_seconds` is the time between commits; exactly-once makes output wait for them. `landed`
    is told the stamps of the input whose output has come to be there for all to read.
    """

    def __init__(
        self,
        consumer: Consumer,
        producer: Producer,
        committed: Sequence[int],
        *,
        exactly_once: bool,
        commit_seconds: float,
        clock: Callable[[], float],
        landed: Callable[[Int64s], None],
    ) -> None:
        self._consumer, self._producer = consumer, producer
        self._committed = self._reached = self._acknowledged = list(committed)
        self._sent = self._there = 0
        self._marks: deque[_Mark] = deque()
        self._exactly_once = exactly_once
        self._commit_seconds = commit_seconds
        self._clock, self._landed = clock, landed
        self._open = self._committing = False
        self._due = clock() + commit_seconds
        self._heard = -math.inf

    @property
    def full(self) -> bool:
        """Whether so much waits for the broker, or a commit does, that nothing may be made now."""
        return self._committing or self._producer.waiting > MOST_WAITING

    @property
    def sent(self) -> int:
        """Records sent so far."""
        return self._sent

    @property
    def arrived(self) -> int:
        """So many of the first records sent are there for all to read, as of the last turn."""
        return self._there

    @property
    def waiting(self) -> int:
        """Records sent that the broker has not acknowledged."""
        return self._producer.waiting

    def patience(self, timeout: float) -> float:
        """How long one may wait for input, `timeout` at most, until `turn` has something to do."""
        if self._open:
            return min(timeout, max(self._due - self._clock(), 0.0))
        return min(timeout, HEAR_SECONDS) if self._producer.waiting else timeout

    def is_new(self, positions: Sequence[int]) -> bool:
        """Whether what was made of input up to these positions has never been committed."""
        return any(new > old for new, old in zip(positions, self._committed, strict=True))

    def send(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Headers | None] | None = None,
    ) -> None:
        """Send records; `reached` says afterwards what input they were made of."""
        if values:
            self._begin()
            self._producer.send(topic, values, keys, headers)
            self._sent += len(values)

    def reached(self, positions: Sequence[int], stamps: Int64s = _NONE) -> None:
        """Everything made of the input before these positions has been sent."""
        self._reached = [max(new, old) for new, old in zip(positions, self._reached, strict=True)]
        self._marks.append(_Mark(self._sent, self._reached, stamps))

    def turn(self, timeout: float = 0.0, *, busy: bool = False) -> None:
        """Hear of acknowledgements, waiting up to `timeout` for one; commit when that is due.

        To look for them costs as much as some events: who is `busy` does it once in HEAR_SECONDS.
        """
        now = self._clock()
        if not busy or now - self._heard >= HEAR_SECONDS:
            self._heard = now
            self._producer.poll(timeout)
            if not self._exactly_once:
                self._arrived(self._producer.acknowledged)
        if self._committing or self._clock() >= self._due:
            self._commit(COMMIT_SECONDS)

    def settle(self, timeout: float) -> bool:
        """Commit everything; False if the broker did not take it all within `timeout` seconds."""
        if not self._exactly_once:
            if not self._producer.flush(timeout):
                return False
            self._arrived(self._sent)
        return self._commit(timeout)

    def _begin(self) -> None:
        if self._exactly_once and not self._open:
            self._producer.begin()
            self._open = True

    def _arrived(self, records: int) -> None:
        """So many of the records sent are there for all to read."""
        self._there = records
        while self._marks and self._marks[0].sent <= records:
            mark = self._marks.popleft()
            self._acknowledged = mark.positions
            if len(mark.stamps):
                self._landed(mark.stamps)

    def _commit(self, timeout: float) -> bool:
        """Commit what can be; False if a transaction was not done within `timeout` seconds."""
        if self._exactly_once:
            if not self._transact(timeout):
                return False
            self._arrived(self._sent)
        elif self._acknowledged != self._committed:
            self._consumer.commit(self._acknowledged)
        self._committed = self._acknowledged
        self._due = self._clock() + self._commit_seconds
        return True

    def _transact(self, timeout: float) -> bool:
        """Commit output and positions together; nothing is sent before that is done."""
        if self._reached != self._committed:
            self._begin()
        if self._open:
            self._committing = not self._producer.commit(self._consumer, self._reached, timeout)
            self._open = self._committing
        return not self._committing
