"""A cluster in memory: topics, groups, transactional ids, and time.

Everything happens in one thread, when a client calls, and the same calls with the same faults give
the same logs.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from streams.broker import Headers, Input
from streams.errors import InputError
from streams.memory.log import ABORTED, COMMITTED, Log, Record, Transaction
from streams.topics import TOPICS

ADRIFT_US = 1_000_000
"""How long what a dead process had sent may still be on its way."""
TRANSACTION_TIMEOUT_US = 60_000_000


class Crash(BaseException):
    """The process ends here as by SIGKILL: it can catch nothing and call nothing any more."""


class Faults(Protocol):
    """Decides what goes through and when, and where a process ends."""

    def __call__(self, process: str, operation: str, count: int, /) -> int:
        """How many of `count` go through now: records, or requests, of which there is one.

        What does not is tried again later. Raises Crash to end the process here, but not where its
        name is empty: that is the cluster itself. An operation with `… answered` to its name is
        the moment after it has happened.
        """


def no_faults(_process: str, _operation: str, count: int, /) -> int:
    """Everything goes through at once."""
    return count


class Clock:
    """Time that passes only when told to, in microseconds UTC.

    >>> clock = Clock(5_000_000)
    >>> clock.sleep(0.5)
    >>> clock()
    5500000
    """

    def __init__(self, now_us: int = 1_700_000_000_000_000) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now_us += round(seconds * 1e6)


@dataclass(slots=True, eq=False)
class Group:
    """The positions of a group, and the one consumer that may commit them."""

    positions: dict[Input, int] = field(default_factory=dict)
    owner: str = ""
    """The name that its member gave, if any."""
    until_us: int = 0
    """When that member no longer counts as alive."""
    generation: int = 0
    """How many have joined so far."""


@dataclass(slots=True, eq=False)
class Session:
    """A transactional id: of the producers that have had it, the one of this epoch may write."""

    epoch: int = 0
    open: Transaction | None = None
    due: deque[Callable[[], None]] = field(default_factory=deque)
    """Markers and positions of the transaction that was decided last, which have not landed."""

    def decide(self, state: int) -> None:
        """Commit or abort the open transaction; its markers land by and by."""
        if self.open is not None:
            self.open.state = state
            self.due.extend(partial(log.mark, self.open) for log in self.open.logs)
            if state == COMMITTED:
                self.due.extend(commit for _, commit in self.open.positions)
            self.open = None

    def land(self, count: int | None = None) -> None:
        """Let so many of the markers land, by default all."""
        for _ in range(len(self.due) if count is None else count):
            self.due.popleft()()


class Cluster:
    """Topics by name with their partitions; by default those of `streams.topics`.

    >>> cluster = Cluster({"labels": 1})
    >>> cluster.append("labels", b"{}")
    >>> [record.value for record in cluster.read("labels")]
    [b'{}']
    """

    def __init__(
        self,
        topics: Mapping[str, int] | None = None,
        *,
        clock: Clock | None = None,
        faults: Faults = no_faults,
    ) -> None:
        self.clock = clock or Clock()
        self.faults = faults
        self.topics: dict[str, list[Log]] = {}
        self.max_bytes: dict[str, int] = {}
        self.ids: dict[str, str] = {}
        """Of each topic that there is or was, another one each time it is made."""
        self.groups: dict[str, Group] = {}
        self.sessions: dict[str, Session] = {}
        self._adrift: list[tuple[int, deque[Callable[[], None]]]] = []
        if topics is None:
            topics = {topic.name: topic.partitions for topic in TOPICS.values()}
        for name, partitions in topics.items():
            self.create(name, partitions, TOPICS[name].max_bytes if name in TOPICS else 1 << 20)

    @property
    def stamp(self) -> int:
        """What a record that is appended now is stamped with."""
        return self.clock() // 1000 * 1000

    def create(self, topic: str, partitions: int = 1, max_bytes: int = 1 << 20) -> None:
        """Make a topic; one of that name that was there is gone with its records."""
        self.topics[topic] = [Log() for _ in range(partitions)]
        self.max_bytes[topic] = max_bytes
        self.ids[topic] = str(int(self.ids.get(topic, 0)) + 1)

    def grow(self, topic: str) -> None:
        """Give a topic one more partition; keys may belong to another one from now on."""
        self.topics[topic].append(Log())

    def delete(self, topic: str) -> None:
        """Remove a topic with its records."""
        del self.topics[topic]

    def append(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
        transaction: Transaction | None = None,
    ) -> None:
        """Append a record as somebody's producer would; without a partition, to that of its key."""
        logs = self.logs(topic)
        place = partition_of(key, len(logs)) if partition is None else partition
        logs[place].append(self.stamp, key, value, headers, transaction)

    def read(self, topic: str) -> list[Record]:
        """All committed records of a topic, partition after partition."""
        return [record for log in self.logs(topic) for record in log.read(0)]

    def logs(self, topic: str) -> list[Log]:
        """The partitions of a topic; InputError if there is no such topic."""
        if topic not in self.topics:
            raise InputError(f"topic {topic}: wanted it on the broker, found no such topic")
        return self.topics[topic]

    def drift(self, sent: deque[Callable[[], None]]) -> None:
        """Let what a process had sent when it died arrive later, in its order."""
        self._adrift.append((self.clock() + ADRIFT_US, sent))

    def settle(self) -> None:
        """Let happen what happens without any client: late arrivals, markers, timeouts."""
        now = self.clock()
        if self._adrift:
            for deadline, sent in self._adrift:
                count = self.faults("", "adrift", len(sent)) if now < deadline else len(sent)
                for _ in range(count):
                    sent.popleft()()
            self._adrift = [each for each in self._adrift if each[1]]
        for session in self.sessions.values():
            if session.open and now - session.open.began_us > TRANSACTION_TIMEOUT_US:
                session.epoch += 1
                session.decide(ABORTED)
            if session.due:
                session.land(self.faults("", "marker", len(session.due)))


def partition_of(key: bytes | None, partitions: int) -> int:
    """Where a key belongs."""
    return zlib.crc32(key or b"") % partitions
