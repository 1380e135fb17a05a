"""Readers as a function of Flink: they run by timers of their own, a turn at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from jobs.flink_host.function import Turning
from jobs.flink_host.parcel import address_of, nothing_but
from jobs.flink_host.states import FlinkValue
from jobs.flink_host.thread_state import adopted
from jobs.flink_host.travel import OneValue
from jobs.flink_host.underway import Queue
from jobs.lanes.held import NEVER
from jobs.lanes.lanes import lanes_of
from jobs.lanes.reading import Reader, inputs_of
from streams.broker import Input

WAIT_S = 0.004
"""How long it waits for a record; all readers of a task together."""
DISCOVERY_MS = 60_000
"""How often a reader without a partition looks for one."""
SMALL = 512
"""With so many records in a batch, a reader goes on at once."""


class Reading(Turning):
    """Readers: records of topics in, rows for the index out. Each runs by a timer of its own."""

    def open(self, runtime_context: Any) -> None:
        self.readers: dict[int, Reader] = {}
        self.told = NEVER
        self.small = True
        super().open(runtime_context)
        self.queue = Queue(self.job)
        self.kept = FlinkValue(runtime_context, "reader")
        self.travel(reader=OneValue(self.kept))
        self.broker = self.plan.settings.broker()
        self.wanted = sum(bool(self.inputs(number)) for number in self.own)

    def inputs(self, number: int) -> list[Input]:
        """What the reader of this number reads."""
        return inputs_of(self.broker, self.plan.settings, number, self.plan.lanes)

    def process_element(self, value: bytes, ctx: Any) -> Iterator[Any]:
        """A seed: begin."""
        yield from super().process_element(value, ctx)
        if self.plan.brought and self.plan.strict:
            lane = address_of(value).lane
            yield self.plan.addressed(nothing_but(lane, lane, NEVER))

    @adopted
    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        if self.plan.leaving:
            return
        number = self.lanes.of(ctx.get_current_key())
        reader = self.readers.get(number) or self.begin(number)
        if reader is None:
            self.again(ctx, DISCOVERY_MS)
            return
        deadline = time.monotonic() + self.plan.turn_s
        taken = 0
        while self.queue.empty_by(deadline, small=self.small):
            before = self.time() if self.plan.strict else NEVER
            if before > self.told:
                # What was read before is all out: time may move on.
                self.told = before
                yield self.plan.addressed(nothing_but(number, number, before))
            began = time.monotonic()
            rows, letters, count = reader.take(WAIT_S / len(self.readers))
            taken += count
            self.small = count < SMALL
            if letters:
                yield from self.letters(letters)
            if rows is not None:
                lanes = lanes_of(rows.batch.idents[:, 0], self.plan.lanes)
                yield from self.parcels(rows, lanes, number, before)
            left = began + self.plan.pace_s - time.monotonic()
            if count > 0 and self.small and left > 0:
                time.sleep(left)
            if not count or time.monotonic() > deadline:
                break
        if taken:
            self.kept.put(reader.state())
            if not self.plan.strict:
                yield from self.plan.kept(number)
        self.collect(idle=not taken)
        self.again(ctx)

    def time(self) -> int:
        """How far event time is, by the reader of this task that is furthest behind."""
        if len(self.readers) < self.wanted:
            return NEVER
        behind = [each.newest_us for each in self.readers.values() if not each.idle]
        return min(behind) if behind else max(each.newest_us for each in self.readers.values())

    def begin(self, number: int) -> Reader | None:
        """The reader of this number, where its state stands; None if no partition is its own."""
        plan, inputs = self.plan, self.inputs(number)
        if not inputs:
            return None
        reader = Reader(
            self.pipeline, self.broker, plan.settings, inputs, plan.lanes, plan.tasks,
            self.kept.get(),
        )  # fmt: skip
        self.readers[number] = reader
        return reader

    def release(self) -> None:
        for reader in self.readers.values():
            reader.close()
