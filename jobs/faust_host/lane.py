"""A lane: a reader and the stages of its number, what they keep, and what of it is committed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from jobs.faust_host.outlet import Outlet, Sent
from jobs.faust_host.parcel import Head, head_of, parcels
from jobs.faust_host.plan import Plan
from jobs.faust_host.stages import Indexing, Out, Serving, Stage, Windows
from jobs.faust_host.table import Copy, LaneTable
from jobs.lanes.held import NEVER
from jobs.lanes.lanes import Int64s, lanes_of
from jobs.lanes.reading import Reader
from jobs.lanes.rows import Arrivals
from jobs.monitoring.monitor import InputGauge
from jobs.topic_records import letter_records
from streams.errors import StateError
from streams.topics import DEAD_LETTERS

_READER, _CLAIM = b"r", b"d"
WAIT_S = 0.05
"""How long a reader waits for a record."""
PACE_S = 0.01
"""The least time between two batches of a reader, while they are small: what a parcel costs on its
way does not depend on how many rows are in it."""
SMALL = 512
AHEAD = 4 << 20
"""Bytes of a reader that may be on their way to the index."""
IDLE_S = 2.0
"""After so long without a record time no longer waits for a reader."""


class Lane:
    """Takes parcels, reads topics, sends what comes of both, and commits it.

    A commit waits for all that was sent, has the changelog know what the lane has come to know, and
    acknowledges the parcels then. `copy` is that of the lane's partition of the table.
    """

    def __init__(
        self, plan: Plan, number: int, copy: Copy, outlet: Outlet, serving: Serving
    ) -> None:
        self.plan, self.number, self._outlet = plan, number, outlet
        self._table = LaneTable(copy)
        claim(self._table, plan)
        self._stages: list[Stage] = [
            Indexing(plan, number, self._table),
            *(Windows(plan, number, n, self._table, serving) for n in range(1, len(plan.stages))),
        ]
        self._reader = None
        self._monitor = serving.monitor
        self.gauges: list[InputGauge] = []
        """Of what it reads."""
        if inputs := plan.inputs(number):
            kept = self._table.get(_READER)
            now_us = serving.monitor.now_us()
            self.gauges = [InputGauge(topic, number, now_us) for topic, number in inputs]
            self._reader = Reader(
                plan.pipeline, plan.broker, plan.settings, inputs, plan.lanes, 1, kept, self.gauges
            )
        self._sent, self._events = Sent(), list[Any]()
        self._ahead = 0
        self._idle, self._told_us, self._busy = False, NEVER, time.monotonic()
        self.ending = asyncio.Event()
        """Set when the lane is to take in nothing more."""

    def next(self, place: int) -> int:
        """The offset of the parcel that a stage is to have next."""
        return self._stages[place].at.next

    def take(self, place: int, event: Any) -> bool:
        """Work on a parcel that came to a stage, the `place`th; not if one before it has not."""
        raw = event.value
        if event.message.offset > self.next(place):
            return False
        if not place and head_of(raw).lane == self.number:
            self._ahead = max(0, self._ahead - len(raw))
        self._send(self._stages[place].take(raw, event.message.offset))
        self._events.append(event)
        return True

    async def read(self) -> None:
        """Read, until the lane is ending."""
        while self._reader is not None and not self.ending.is_set():
            if self._ahead > AHEAD:
                await asyncio.sleep(PACE_S)
                continue
            began = time.monotonic()
            rows, letters, count = await asyncio.to_thread(self._reader.take, WAIT_S)
            if self.ending.is_set():
                break
            if letters:
                self._monitor.dead_letters.update(letter.reason.value for letter in letters)
                topic = self.plan.settings.topic(DEAD_LETTERS)
                self._send([Out(topic, *letter_records(letters))])
            self._hand_on(self._reader, rows, count)
            left = began + PACE_S - time.monotonic()
            if 0 < count < SMALL and left > 0:
                await asyncio.sleep(left)

    def _hand_on(self, reader: Reader, rows: Arrivals | None, count: int) -> None:
        """Send what was read to the lanes of its ids, and how far time is, if it matters."""
        now, plan = time.monotonic(), self.plan
        self._busy = now if count else self._busy
        idle = reader.idle and now - self._busy > IDLE_S
        time_us, tell = NEVER, range(0)
        if plan.strict and reader.newest_us != NEVER:
            time_us = reader.newest_us - plan.lateness_us
            if time_us > self._told_us or idle != self._idle:
                tell = range(plan.lanes)
        self._told_us, self._idle = max(time_us, self._told_us), idle
        lanes: Int64s | None = None
        if rows is not None:
            lanes = lanes_of(rows.batch.idents[:, 0], plan.lanes)
        for lane, raw in parcels(rows, lanes, Head(self.number, idle, 0, time_us), tell):
            self._send([Out(plan.stages[0], [None], [raw], lane)])
            self._ahead += len(raw) * (lane == self.number)
        if count:
            self._table.change({_READER: reader.state()})

    def _send(self, outs: Iterable[Out]) -> None:
        for topic, keys, values, partition in outs:
            self._outlet.send(self._sent, topic, keys, values, partition)

    async def commits(self, every_s: float) -> None:
        """Commit every so often, and once more when the lane is ending."""
        ended = False
        while not ended:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), every_s)
            ended = self.ending.is_set()
            await self._commit()

    async def _commit(self) -> None:
        """Have all that was done until now be done for good."""
        sent, self._sent = self._sent, Sent()
        events, self._events = self._events, []
        records = self._table.begin()
        await self._outlet.arrived(sent)
        if records:
            log = Sent()
            keys, values = zip(*records, strict=True)
            self._outlet.send(log, self.plan.changelog, keys, values, self.number)
            await self._outlet.arrived(log)
            self._table.end(records, log.offset)
        for event in events:
            event.ack()

    def close(self) -> None:
        """Let go; what is not committed is done again, by whoever has the lane next."""
        for stage in self._stages:
            stage.close()
        if self._reader is not None:
            self._reader.close()


def claim(table: LaneTable, plan: Plan) -> None:
    """Note whose state a lane is. Raises StateError where it is that of another plan."""
    pipeline, settings = plan.pipeline, plan.settings
    wanted = f"definition {pipeline.definition}, order {settings.order}".encode()
    found = table.get(_CLAIM)
    if found is None:
        table.change({_CLAIM: wanted})
    elif found != wanted:
        raise StateError(
            f"{plan.changelog}: wanted the state of pipeline {pipeline.name}, {wanted.decode()}, "
            f"got that of {found.decode()}; choose another group, or go back to what it was"
        )
