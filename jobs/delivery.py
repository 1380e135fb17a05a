"""Sending what a job makes of its input, and committing how far it is, so that restarts add up.

At-least-once: positions are committed once the broker has acknowledged all that was made of what
lies before them. Exactly-once: output and positions are one transaction. Either way what is made
again after a restart, of input before the committed positions, is not sent again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from streams.broker import Consumer, Headers, Producer

MOST_WAITING = 50_000
"""Records that the broker has not acknowledged; with more, nothing is read."""
COMMIT_SECONDS = 0.5
"""How long a turn waits for a transaction to be committed; the next turn goes on waiting."""


class Delivery:
    """The output of one job. `committed` is what the group had committed when it began.

    `commit_seconds` is the time between commits; exactly-once makes output wait for them.
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
    ) -> None:
        self._consumer, self._producer = consumer, producer
        self._committed = list(committed)
        self._reached = list(committed)
        self._sent = 0
        self._marks: deque[tuple[int, list[int]]] = deque()
        """How much had been sent when these positions were reached, oldest first."""
        self._exactly_once = exactly_once
        self._commit_seconds = commit_seconds
        self._clock = clock
        self._open = self._committing = False
        self._due = clock() + commit_seconds

    @property
    def full(self) -> bool:
        """Whether so much waits for the broker, or a commit does, that nothing may be made now."""
        return self._committing or self._producer.waiting > MOST_WAITING

    @property
    def waiting(self) -> int:
        """Records sent that the broker has not acknowledged."""
        return self._producer.waiting

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

    def reached(self, positions: Sequence[int]) -> None:
        """Everything made of the input before these positions has been sent."""
        self._reached = [max(new, old) for new, old in zip(positions, self._reached, strict=True)]
        if not self._exactly_once:
            self._marks.append((self._sent, self._reached))

    def turn(self, timeout: float = 0.0) -> None:
        """Hear of acknowledgements, waiting up to `timeout` for one; commit when that is due."""
        self._producer.poll(timeout)
        if self._committing or self._clock() >= self._due:
            self._commit(COMMIT_SECONDS)

    def settle(self, timeout: float) -> bool:
        """Commit everything; False if the broker did not take it all within `timeout` seconds."""
        if not self._exactly_once and not self._producer.flush(timeout):
            return False
        return self._commit(timeout)

    def _begin(self) -> None:
        if self._exactly_once and not self._open:
            self._producer.begin()
            self._open = True

    def _commit(self, timeout: float) -> bool:
        done = self._transact(timeout) if self._exactly_once else self._acknowledge()
        if done:
            self._due = self._clock() + self._commit_seconds
        return done

    def _acknowledge(self) -> bool:
        """Commit the positions whose output the broker has."""
        acknowledged = self._producer.acknowledged
        positions = self._committed
        while self._marks and self._marks[0][0] <= acknowledged:
            positions = self._marks.popleft()[1]
        if positions != self._committed:
            self._consumer.commit(positions)
            self._committed = positions
        return True

    def _transact(self, timeout: float) -> bool:
        """Commit output and positions together; nothing is sent before that is done."""
        if self._reached != self._committed:
            self._begin()
        if self._open:
            if not self._producer.commit(self._consumer, self._reached, timeout):
                self._committing = True
                return False
            self._open = self._committing = False
        self._committed = self._reached
        return True

    def close(self) -> None:
        """Let go of producer and consumer; what was not committed will be made again."""
        self._producer.close()
        self._consumer.close()
