"""A consumer of the broker in memory: reads what is committed, and commits positions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from streams.broker import NEVER, Input, Run
from streams.errors import InputError, StateError
from streams.memory.cluster import Cluster, Group
from streams.memory.log import Log
from streams.memory.process import Process
from streams.payloads import Payloads

FOREVER_US = 1 << 62
SESSION_US = 45_000_000
"""How long a dead member counts as alive."""
UNSTABLE_SECONDS = 1.0
"""How long to wait before asking for positions again that a transaction has not decided."""


class MemoryConsumer:
    """See `streams.broker.Consumer`."""

    def __init__(
        self, process: Process, inputs: tuple[Input, ...], group: str | None, owner: str
    ) -> None:
        self.inputs = inputs
        self.away = ""
        self._process = process
        self._cluster = process.cluster
        self._logs = [_log(self._cluster, each) for each in inputs]
        self._positions = [0] * len(inputs)
        self._high = [NEVER] * len(inputs)
        self._at_end = [False] * len(inputs)
        self._paused: frozenset[int] = frozenset()
        self._turn = 0
        self._pending: Sequence[int] | None = None
        self._group = None if group is None else self._join(group, owner)

    def _join(self, name: str, owner: str) -> Group:
        group = self._cluster.groups.setdefault(name, Group())
        if self._cluster.clock() < group.until_us and (not owner or owner != group.owner):
            raise StateError(
                f"group {name}: wanted it alone, but {group.owner or 'another'} owns it; stop that "
                "instance or set another group"
            )
        group.owner, group.until_us = owner, FOREVER_US
        group.generation += 1
        self._generation = group.generation
        return group

    def bounds(self) -> list[tuple[int, int]]:
        self._process.insist("bounds")
        found = [(log.first, log.stable) for log in self._live()]
        self._high = [high for _, high in found]
        return found

    def committed(self) -> list[int]:
        group = self._owned()
        self._process.insist("committed")
        while self._undecided(group):
            self._process.wait(UNSTABLE_SECONDS)
            self._process.ask("committed")
        return [group.positions.get(each, NEVER) for each in self.inputs]

    def _undecided(self, group: Group) -> bool:
        """Whether a transaction that is still open has positions of this group."""
        sessions = self._cluster.sessions.values()
        for session in sessions:
            session.land()
        opened = (session.open for session in sessions if session.open)
        return any(group is each for one in opened for each, _ in one.positions)

    def seek(self, positions: Sequence[int]) -> None:
        self._process.ask("seek")
        self._positions = list(positions)
        self._at_end = [False] * len(self.inputs)

    def poll(self, limit: int, timeout: float) -> list[Run]:
        self._send_commit()
        runs: list[Run] = []
        self.away = "" if self._process.ask("poll") else "the broker does not answer"
        if not self.away:
            logs = self._live()
            for step in range(len(logs)):
                place = (self._turn + step) % len(logs)
                if place not in self._paused and (run := self._fetch(place, logs[place], limit)):
                    runs.append(run)
                    limit -= len(run)
            self._turn += 1
        if not runs:
            self._process.wait(timeout)
        return runs

    def _fetch(self, place: int, log: Log, limit: int) -> Run | None:
        position = self._positions[place]
        if not log.first <= position <= log.next:
            at = self.inputs[place]
            raise InputError(
                f"topic {at.topic}, partition {at.partition}: wanted to read on at offset "
                f"{position}, found offsets {log.first} to {log.next}; the records are gone or "
                "the topic was made anew: begin with a new group and state folder"
            )
        records = log.read(position)
        answered = self._process.ask("fetch", len(records) + 1)
        if not answered:
            return None
        taken = min(limit, answered - 1)
        self._high[place], self._at_end[place] = log.stable, taken >= len(records)
        del records[taken:]
        if not records:
            return None
        self._positions[place] = records[-1].offset + 1
        offsets, stamps, keys, values, headers, _ = zip(*records, strict=True)
        return Run(
            place,
            np.array(offsets, np.int64),
            np.array(stamps, np.int64),
            Payloads.of(keys),
            Payloads.of(values),
            list(headers) if any(headers) else None,
        )

    def ends(self) -> list[int]:
        return [
            position if at_end else max(position, high)
            for position, high, at_end in zip(
                self._positions, self._high, self._at_end, strict=True
            )
        ]

    def pause(self, inputs: Sequence[int]) -> None:
        self._paused = frozenset(inputs)

    def commit(self, positions: Sequence[int]) -> None:
        self._owned()
        self._pending = list(positions)
        self._send_commit()

    def close(self) -> None:
        self._send_commit()
        while self._pending is not None:
            self._process.wait()
            self._send_commit()
        self._process.insist("leave")
        if self._group is not None and self._group.generation == self._generation:
            self._group.until_us = 0

    def _send_commit(self) -> None:
        if self._pending is not None and self._process.ask("commit"):
            group, commit = self.commits(self._pending)
            if group.generation != self._generation:
                raise StateError("group: another instance has taken it over; stop this one")
            commit()
            self._pending = None
            self._process.ask("commit answered")

    def commits(self, positions: Sequence[int]) -> tuple[Group, Callable[[], None]]:
        """The group, and what commits these positions for it."""
        group = self._owned()
        placed = zip(self.inputs, positions, strict=True)
        wanted = {each: position for each, position in placed if position != NEVER}
        return group, partial(group.positions.update, wanted)

    def abandon(self) -> None:
        """The process has ended: the broker notices after a while, a commit may still arrive."""
        if self._pending is not None:
            group, commit = self.commits(self._pending)
            generation = self._generation

            def arrive() -> None:
                if group.generation == generation:
                    commit()

            self._cluster.drift(deque([arrive]))
        if self._group is not None and self._group.generation == self._generation:
            self._group.until_us = self._cluster.clock() + SESSION_US

    def _owned(self) -> Group:
        if self._group is None:
            raise ValueError("a consumer without a group has no positions to commit")
        return self._group

    def _live(self) -> list[Log]:
        """The logs that are read; InputError where one is no longer that which was opened."""
        for at, log in zip(self.inputs, self._logs, strict=True):
            if _log(self._cluster, at) is not log:
                raise InputError(
                    f"topic {at.topic}: was deleted and made anew; begin with a new group and "
                    "state folder"
                )
        return self._logs


def _log(cluster: Cluster, at: Input) -> Log:
    logs = cluster.logs(at.topic)
    if at.partition >= len(logs):
        raise InputError(
            f"topic {at.topic}: wanted partition {at.partition}, found {len(logs)} partitions"
        )
    return logs[at.partition]
