"""What the score job and the learn job have in common: a folder and a group of their own, a turn.

What a job is may be read in four steps: `step` takes what is there and hands on what it makes of
it, and every few seconds begins a snapshot, which it takes in small parts; `snapshot` commits what
was sent, then the state; `close` does so for the last time; and `release`, all that may be called
after an error, lets go of folder and group.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.kafka_host.delivery import Delivery
from jobs.kafka_host.positions import kept, resumed, topics_of
from jobs.monitoring.monitor import Monitor, Role
from jobs.state import KeptState
from streams.broker import NEVER, Broker, Input
from streams.ownership import own

log = logging.getLogger("headrace")
log.addHandler(logging.NullHandler())  # who drives a job decides where its lines go
BATCH = 4096
"""The most records of a batch."""
RELEASE_ROWS = 4096
"""Mapped pages are let go after so many rows: a label maps 64 KB around its event."""
WORDS_AT_ONCE = 1 << 15
"""Of a snapshot, taken in a turn: a tenth of a millisecond."""
CLOSE_SECONDS = 1.5
OBSERVE_SECONDS = 0.01
"""How often it says where it stands, at most, while there is something to do."""
_STAYING = 3
"""The last two snapshots, and the one being written, may all still be gone on from."""


class TopicJob(ABC):
    """A job that owns the folder `settings.state / role` and the group `group`.

    `clock` says in seconds what is due when, `now_us` what time of day it is; neither reaches what
    is made. Raises InputError or StateError when it cannot begin, holding nothing.
    """

    _state: KeptState
    _patience = 0.0
    """Seconds that records may be waited for, so that more of them come at once."""
    _patient: Collection[str] = ()
    """Topics whose readers do not wait for each record."""

    def __init__(
        self,
        role: Role,
        pipeline: Pipeline,
        broker: Broker,
        settings: Settings,
        inputs: Sequence[Input],
        group: str,
        *,
        clock: Callable[[], float],
        now_us: Callable[[], int],
    ) -> None:
        self.settings, self.pipeline, self.inputs = settings, pipeline, tuple(inputs)
        self.folder = settings.state / role
        self.monitor = Monitor(
            role,
            pipeline=pipeline.name,
            definition=pipeline.definition,
            inputs=self.inputs,
            clock=clock,
            now_us=now_us,
        )
        self._clock, self._now_us = clock, now_us
        self._away = ""
        self._topic_ids = topics_of(broker, self.inputs)
        with ExitStack() as stack:
            stack.enter_context(own(self.folder))
            self._open(broker, group, stack)
            self._stack = stack.pop_all()
        self._saved = self._positions.copy()
        self._needed = deque([self._needs()], _STAYING)
        self._due = clock() + settings.snapshot_seconds
        self._begun = self._taken = False
        self._sent, self._next_needed = 0, self._needed[0]
        self._observed, self._busy = clock(), False
        self.monitor.done("start")

    def _open(self, broker: Broker, group: str, stack: ExitStack) -> None:
        """Become the group's owner, and go on where the newest snapshot ends."""
        settings = self.settings
        # The group first: to open a producer by its id for transactions fences whoever had it.
        owner = str(self.folder.resolve())
        self._consumer = broker.consumer(self.inputs, group, owner, self._patience)
        stack.callback(self._consumer.close)
        exactly_once = settings.delivery == "exactly-once"
        transactional = f"{settings.prefix}{group}" if exactly_once else None
        patient = [settings.topic(name) for name in self._patient]
        producer = broker.producer(transactional, patient, self._consumer)
        stack.callback(producer.close)
        meta, bounds = self._begin(broker, stack), self._consumer.bounds()
        self._positions = resumed(meta, self._topic_ids, self.inputs, bounds, self.folder)
        committed = self._consumer.committed()
        self._delivery = Delivery(
            self._consumer,
            producer,
            # Of a partition that is new nothing was committed, and nothing has been made either.
            [
                position if at == NEVER else at
                for at, position in zip(committed, self._positions, strict=True)
            ],
            exactly_once=exactly_once,
            commit_seconds=settings.commit_ms / 1000,
            clock=self._clock,
            landed=self._landed,
        )
        self._consumer.seek(self._positions)

    @abstractmethod
    def _begin(self, broker: Broker, stack: ExitStack) -> Mapping[str, Any]:
        """Make the state, `_state` too, as the newest snapshot has it; the values beside it.

        Folder and group are ours by now. What else is opened is closed by the stack.
        """

    @abstractmethod
    def _turn(self, timeout: float) -> int:
        """Take what is there and hand on what is made of it; how much that was."""

    @abstractmethod
    def _save(self, meta: dict[str, Any]) -> None:
        """Begin a snapshot of the state with these values in it."""

    @abstractmethod
    def _needs(self) -> tuple[int, ...]:
        """What a job that goes on from a snapshot taken now asks for."""

    @abstractmethod
    def _forget(self, *needed: int) -> None:
        """Give back what no snapshot asks for that may still be gone on from."""

    @abstractmethod
    def began(self) -> str:
        """How it begins, in a line."""

    @abstractmethod
    def said(self) -> str:
        """Where it stands, in a line."""

    @property
    def behind(self) -> int:
        """Records that are there and were not taken yet."""
        return sum(gauge.behind for gauge in self.monitor.inputs)

    @property
    def rest(self) -> float:
        """Seconds that it leaves to others before its next turn."""
        return 0.0

    def step(self, timeout: float) -> int:
        """One turn: how much was done; waits up to `timeout` seconds for something to do."""
        done = 0
        self._delivery.turn(busy=self._busy)
        if self._delivery.full:
            self._delivery.turn(timeout)
        else:
            taking = self._begun and not self._taken
            done = self._turn(0.0 if taking else self._delivery.patience(timeout))
        self._keep()
        if not done or self._clock() - self._observed >= OBSERVE_SECONDS:
            self._observe()
        self._busy = done > 0
        return done

    def _keep(self) -> None:
        """Begin a snapshot when it is due; then take some of it each turn, and have it written.

        It is written once all that was sent before its moment has arrived: whoever goes on from
        it makes none of that again.
        """
        if self._begun:
            self._taken = self._taken or self._state.proceed(WORDS_AT_ONCE)
            if self._taken and self._delivery.arrived >= self._sent:
                self._write()
        elif self._positions != self._saved and self._clock() >= self._due and not self._state.busy:
            self._begin_snapshot()

    def _begin_snapshot(self) -> None:
        self.monitor.snapshots.begun(self._now_us())
        self._save(kept(self._topic_ids, self.inputs, self._positions))
        self._saved, self._sent = self._positions.copy(), self._delivery.sent
        self._next_needed = self._needs()
        self._begun, self._taken = True, False

    def _write(self, *, wait: bool = False) -> None:
        self._begun = False
        self._state.write(wait=wait)
        self._needed.append(self._next_needed)
        if len(self._needed) == _STAYING:
            self._forget(*self._needed[0])
        self._due = self._clock() + self.settings.snapshot_seconds

    def snapshot(self) -> bool:
        """Commit what is sent, then the state as it is now; False if the broker is not done yet."""
        if not self._delivery.settle(CLOSE_SECONDS):
            return False
        self._begin_snapshot()
        self._write(wait=True)
        return True

    def close(self) -> None:
        """Commit everything and let go of folder and group, for whoever goes on.

        Where the broker does not answer in time the last snapshot stays good.
        """
        try:
            self.snapshot()
        finally:
            self.release()

    def release(self) -> None:
        """Let go of folder and group as they are; what was not committed will be made again."""
        self._stack.close()

    def _observe(self) -> None:
        """Say where it stands."""
        monitor, now_us, self._observed = self.monitor, self._now_us(), self._clock()
        monitor.turned()
        monitor.output_waiting = self._delivery.waiting
        monitor.snapshots.seen(now_us, busy=self._state.busy)
        self._look_for_broker()
        ends = self._consumer.ends()
        for gauge, end, position in zip(monitor.inputs, ends, self._positions, strict=True):
            gauge.stands(max(end - position, 0), now_us)

    def _look_for_broker(self) -> None:
        """Say once that it is away, and once that it is back."""
        away = self._consumer.away
        if away and not self._away:
            log.warning("%s; going on when it does", away)
            self.monitor.wait("broker", away)
        elif self._away and not away:
            log.info("the broker answers again")
            self.monitor.done("broker")
        self._away = away

    def _landed(self, stamps: npt.NDArray[np.int64]) -> None:
        self.monitor.latency.add_since(stamps, self._now_us())
