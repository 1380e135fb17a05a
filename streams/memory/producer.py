"""A producer of the broker in memory: records reach the log later, if at all, and in order."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from streams.broker import Consumer, Headers
from streams.errors import OutputError, StateError
from streams.memory.cluster import Session, partition_of
from streams.memory.consumer import MemoryConsumer
from streams.memory.log import ABORTED, COMMITTED, Log, Transaction
from streams.memory.process import Process

ANSWER = "answer on its way"
"""To an append; where it is lost, the request is made again."""
BEGUN, POSITIONED, DECIDED = range(3)
"""How far the commit of a transaction has come."""
Sent = tuple[bytes | None, bytes | None, Headers | None]


@dataclass(slots=True)
class _Line:
    """What was sent to one partition and is not acknowledged."""

    topic: str
    partition: int
    unsent: deque[Sent] = field(default_factory=deque)
    unanswered: deque[Sent] = field(default_factory=deque)
    """Appended, which the producer has not heard of."""
    places: deque[int] = field(default_factory=deque)
    """Of each that waits, how many records were sent before it."""

    @property
    def waiting(self) -> int:
        return len(self.places)


class MemoryProducer:
    """See `streams.broker.Producer`."""

    def __init__(self, process: Process, transactional: str | None) -> None:
        self._process = process
        self._cluster = process.cluster
        self._lines: dict[tuple[str, int], _Line] = {}
        self._turn = 0
        self._sent = 0
        self._session: Session | None = None
        self._begun = False
        self._step = BEGUN
        if transactional is not None:
            self._session = self._cluster.sessions.setdefault(transactional, Session())
            self._session.land()
            self._session.decide(ABORTED)
            self._session.land()
            self._session.epoch += 1
            self._epoch = self._session.epoch

    @property
    def waiting(self) -> int:
        return sum(line.waiting for line in self._lines.values())

    @property
    def acknowledged(self) -> int:
        places = [line.places[0] for line in self._lines.values() if line.places]
        return min(places, default=self._sent)

    def send(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Headers | None] | None = None,
    ) -> None:
        self._process.ask("send")
        if self._session is not None and not self._begun:
            raise ValueError("a producer with an id sends only between `begin` and `commit`")
        partitions = len(self._logs(topic))
        none = [None] * len(values)
        for sent in zip(keys or none, values, headers or none, strict=True):
            key, value, _ = sent
            size, most = len(key or b"") + len(value or b""), self._cluster.max_bytes[topic]
            if size > most:
                raise OutputError(
                    f"topic {topic}: wanted a record of at most {most:,} bytes, got {size:,}; "
                    "raise the topic's max.message.bytes"
                )
            place = self._turn % partitions if key is None else partition_of(key, partitions)
            self._turn += key is None
            line = self._lines.setdefault((topic, place), _Line(topic, place))
            line.unsent.append(sent)
            line.places.append(self._sent)
            self._sent += 1

    def poll(self, timeout: float = 0.0) -> None:
        before = self.waiting
        self._push()
        if before and self.waiting == before:
            self._process.wait(timeout)

    def flush(self, timeout: float) -> bool:
        deadline = self._cluster.clock() + timeout * 1e6
        self._push()
        while self.waiting and self._cluster.clock() < deadline:
            self._process.wait()
            self._push()
        return not self.waiting

    def begin(self) -> None:
        self._process.ask("begin")
        if self._begun:
            raise ValueError("the transaction before was not committed")
        self._alone()
        self._begun, self._step = True, BEGUN

    def commit(
        self, consumer: Consumer, positions: Sequence[int], timeout: float = math.inf
    ) -> bool:
        if not isinstance(consumer, MemoryConsumer) or not self._begun:
            raise ValueError("wanted a consumer of this broker, and `begin` before")
        deadline = self._cluster.clock() + timeout * 1e6
        while not self._committed(consumer, positions):
            if self._cluster.clock() >= deadline:
                return False
            self._process.wait()
        self._begun = False
        return True

    def _committed(self, consumer: MemoryConsumer, positions: Sequence[int]) -> bool:
        """Go as far as it goes now; what was done before is not done again."""
        self._push()
        if self.waiting:
            return False
        if self._step == BEGUN and self._process.ask("commit positions"):
            self._transaction().positions.append(consumer.commits(positions))
            self._step = POSITIONED
        if self._step == POSITIONED and self._process.ask("commit"):
            self._alone().decide(COMMITTED)
            self._step = DECIDED
        return self._step == DECIDED and bool(self._process.ask("commit answered"))

    def close(self) -> None:
        self._process.ask("close")
        self.abandon()
        if self._session is not None and self._session.epoch == self._epoch:
            self._session.decide(ABORTED)
        self._begun = False

    def abandon(self) -> None:
        """The process has ended: some of what is unsent may be under way, the rest is lost."""
        for line in self._lines.values():
            if line.unsent:
                count = self._cluster.faults("", "in flight", len(line.unsent))
                sent = [line.unsent.popleft() for _ in range(count)]
                self._cluster.drift(deque(partial(self._arrive, line, each) for each in sent))
        self._lines = {}

    def _arrive(self, line: _Line, sent: Sent) -> None:
        """Append what its sender will never hear of, unless the broker refuses it."""
        there = line.topic in self._cluster.topics
        if there and (self._session is None or self._session.epoch == self._epoch):
            self._append(line, sent)

    def _push(self) -> None:
        """Let each partition have what goes through; none waits for another.

        Without an id a request whose answer is lost is made again, before any other: the log then
        holds its records twice. With one the broker knows them again.
        """
        for line in self._lines.values():
            if line.unsent and (self._session is not None or not line.unanswered):
                for _ in range(self._process.ask("append", len(line.unsent))):
                    line.unanswered.append(line.unsent.popleft())
                    self._append(line, line.unanswered[-1])
            if line.unanswered:
                for _ in range(self._process.ask("append answered", len(line.unanswered))):
                    line.unanswered.popleft()
                    line.places.popleft()
            if line.unanswered and self._session is None and not self._process.ask(ANSWER):
                for sent in line.unanswered:
                    self._append(line, sent)

    def _append(self, line: _Line, sent: Sent) -> None:
        key, value, headers = sent
        log = self._logs(line.topic)[line.partition]
        transaction = None if self._session is None else self._transaction()
        log.append(self._cluster.stamp, key, value, headers, transaction)

    def _transaction(self) -> Transaction:
        """The open transaction; the broker opens it with its first record."""
        session = self._alone()
        if session.open is None:
            session.land()  # it takes nothing before the markers of the one before are there
            session.open = Transaction(self._cluster.clock())
        return session.open

    def _alone(self) -> Session:
        """The id's session; StateError when a later producer has it."""
        if self._session is None:
            raise ValueError("a producer without an id has no transactions")
        if self._session.epoch != self._epoch:
            raise StateError(
                "broker: another instance has taken over this one's id for transactions, or a "
                "transaction took too long; stop this instance"
            )
        return self._session

    def _logs(self, topic: str) -> list[Log]:
        if topic not in self._cluster.topics:
            raise OutputError(f"topic {topic}: wanted it to write to, found no such topic")
        return self._cluster.topics[topic]
