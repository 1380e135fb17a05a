"""The operators as Flink's keyed process functions: read, index, windows, score.

Flink's key is a lane. A function is made where the job is submitted, pickled, and opened in the
tasks; what it works with is made there. It runs in thread mode, inside the TaskManager's JVM.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import msgspec
import numpy as np
from pyflink.common import Row
from pyflink.datastream import OutputTag

from jobs.flink_host.function import Function, Turning
from jobs.flink_host.parcel import BODY, address_of, nothing_but
from jobs.flink_host.plan import Plan
from jobs.flink_host.records import RECORD, headers_field
from jobs.flink_host.states import FlinkStore, FlinkValue
from jobs.flink_host.thread_state import adopted
from jobs.flink_host.travel import OneValue
from jobs.flink_host.underway import Queue
from jobs.lanes.described import settle_index, settle_windows
from jobs.lanes.headers import picked
from jobs.lanes.held import NEVER, Held
from jobs.lanes.in_force import VersionInForce
from jobs.lanes.indexing import LaneIndex, LaneIndexes
from jobs.lanes.lanes import Int64s, lanes_of, runs
from jobs.lanes.reading import Reader, inputs_of
from jobs.lanes.rows import Admitted, Arrivals
from jobs.lanes.scoring import Scorer
from jobs.lanes.turns import Turns
from jobs.lanes.windows import LaneWindows
from operators.featurize import chain
from streams.broker import Input
from streams.errors import DeadLetter, StateError
from streams.topics import TRANSACTIONS

OUTCOMES_TAG = OutputTag("outcomes", RECORD)
TURN_S = 0.02
"""How long a reader reads before it lets Flink take a checkpoint."""
WAIT_S = 0.004
"""How long it waits for a record; all readers of a task together."""
DISCOVERY_MS = 60_000
"""How often a reader without a partition looks for one."""
SMALL = 512
"""With so many records in a batch, a reader goes on at once."""
MILLISECOND = 1000


class Reading(Turning):
    """Readers: records of topics in, rows for the index out. Each runs by a timer of its own."""

    def open(self, runtime_context: Any) -> None:
        self.readers: dict[int, Reader] = {}
        self.told = NEVER
        self.small = True
        super().open(runtime_context)
        self.queue = Queue(self.job, self.task)
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
            yield nothing_but(lane, lane, NEVER)

    @adopted
    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        if self.plan.leaving:
            return
        number = self.lanes.of(ctx.get_current_key())
        reader = self.readers.get(number) or self.begin(number)
        if reader is None:
            self.again(ctx, DISCOVERY_MS)
            return
        deadline = time.monotonic() + TURN_S
        taken = 0
        while self.queue.empty_by(deadline, small=self.small):
            before = self.time()
            if self.plan.strict and before > self.told:
                # What was read before is all out: time may move on.
                self.told = before
                yield nothing_but(number, number, before)
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


class _Ordered(Function):
    """An operator whose rows wait for the watermark, if the order is strict."""

    kind: type[Any]
    name: str

    def open(self, runtime_context: Any) -> None:
        super().open(runtime_context)
        stores = {self.name: FlinkStore(runtime_context, self.name)}
        self.store = stores[self.name]
        if self.plan.strict or self.plan.leaving:
            held = f"{self.name}-held"
            self.waiting = stores[held] = FlinkStore(runtime_context, held)
        self.held: dict[int, Held[Any]] = {}
        for lane in self.own:
            self.lanes.enter(lane)
            where = f"{self.plan.settings.pipeline}: {self.name}, lane {lane}"
            for line in self.settle(lane, where):
                sys.stderr.write(f"headrace: {line}\n")
        self.travel(**stores)

    def settle(self, lane: int, where: str) -> list[str]:
        """Have what is kept of a lane be of this pipeline; what is to be said of that."""
        raise NotImplementedError

    @adopted
    def process_element(self, value: bytes, ctx: Any) -> Iterator[Any]:
        lane, reader, sender, time_us = address_of(value)
        self.arriving.taken += sender == self.task
        if len(value) == BODY:
            if time_us == NEVER:
                self.wake(lane, ctx)
            return
        rows = self.kind.unpack(memoryview(value)[BODY:])
        if not self.plan.strict:
            ready = self.in_turn(reader, rows)
            if ready is not None:
                yield from self.carry(reader, ready)
            return
        order, found = runs(self.lanes_in(rows))
        rows = rows.take(order)
        for lane, start, stop in found:
            self.lanes.enter(lane)
            late = self.hold(lane, rows[start:stop], ctx)
            if late is not None:
                yield from self.carry(reader, late)

    def store_of(self, lane: int) -> FlinkStore:
        """What is kept of a lane, which becomes the current one."""
        self.lanes.enter(lane)
        return self.store

    def lanes_in(self, rows: Any) -> Int64s:
        """The lanes of rows, by what they are to this operator."""
        raise NotImplementedError

    def in_turn(self, reader: int, rows: Any) -> Any | None:
        """What can go on, in the order in which the reader took it."""
        return rows

    def hold(self, lane: int, rows: Any, ctx: Any) -> Any | None:
        """Let rows of the current lane wait; those that are late are given back."""
        before_us = (ctx.timer_service().current_watermark() + 1) * MILLISECOND
        held = self.held_of(lane)
        late = held.push(rows, before_us)
        self.remind(held, ctx)
        return late

    def held_of(self, lane: int) -> Held[Any]:
        """What waits in the current lane."""
        if lane not in self.held:
            self.held[lane] = Held(self.kind, self.waiting)
        return self.held[lane]

    def remind(self, held: Held[Any], ctx: Any) -> None:
        """Be called when the watermark has passed the first row that waits."""
        if held.earliest_us is not None:
            ctx.timer_service().register_event_time_timer(held.earliest_us // MILLISECOND)

    @adopted
    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        lane = self.lanes.of(ctx.get_current_key())
        before_us = (ctx.timer_service().current_watermark() + 1) * MILLISECOND
        held = self.held_of(lane)
        rows = held.release(before_us)
        self.remind(held, ctx)
        if rows is not None:
            yield from self.carry(0, rows)
        yield from self.passed(lane, before_us, ctx)

    def wake(self, lane: int, ctx: Any) -> None:
        """Be called when time comes to what was brought into a lane: no row came with it."""
        self.lanes.enter(lane)
        self.remind(self.held_of(lane), ctx)

    def passed(self, lane: int, before_us: int, ctx: Any) -> Iterator[Any]:
        """Do what is due in a lane once all rows before this time have come."""
        yield from ()

    def carry(self, reader: int, rows: Any) -> Iterator[Any]:
        """Work on rows, in order."""
        raise NotImplementedError


class Indexing(_Ordered):
    """The index: rows as they were read in, admitted events and known labels out."""

    kind, name, place = Arrivals, "index", 1

    def open(self, runtime_context: Any) -> None:
        super().open(runtime_context)
        folder = Path(gettempdir())
        self.indexes = LaneIndexes(self.pipeline, self.plan.lanes, self.store_of, folder)
        self.topic = self.plan.settings.topic(TRANSACTIONS)

    def settle(self, lane: int, where: str) -> list[str]:
        return settle_index(self.store_of(lane), self.pipeline, where)

    def lanes_in(self, rows: Arrivals) -> Int64s:
        return lanes_of(rows.batch.idents[:, 0], self.plan.lanes)

    def carry(self, reader: int, rows: Arrivals) -> Iterator[Any]:
        admitted, outcomes, letters = self.indexes.take(rows)
        if letters:
            yield from self.letters([replace(each, topic=self.topic) for each in letters])
        for lane, each in outcomes:
            yield OUTCOMES_TAG, Row(b"%d" % lane, msgspec.json.encode(each))
        if self.entities:
            lanes = lanes_of(admitted.keys[:, self.numbers[0]], self.plan.lanes)
        else:
            # Without entities nothing is kept of a row: it stays with the task that it is at.
            lanes = np.maximum(admitted.number, 0) % self.plan.lanes
        yield from self.parcels(admitted, lanes, reader, 0)

    def passed(self, lane: int, before_us: int, ctx: Any) -> Iterator[Any]:
        """Let events mature in a lane that no row has come to since."""
        store = self.store_of(lane)
        index = self.indexes.lane(lane, store)
        for each in index.advance(before_us, store):
            yield OUTCOMES_TAG, Row(b"%d" % lane, msgspec.json.encode(each))
        self.mature(index, ctx)

    def wake(self, lane: int, ctx: Any) -> None:
        super().wake(lane, ctx)
        self.mature(self.indexes.lane(lane, self.store_of(lane)), ctx)

    def mature(self, index: LaneIndex, ctx: Any) -> None:
        """Be called when the next event of the current lane matures."""
        if index.due_us is not None:
            ctx.timer_service().register_event_time_timer(index.due_us // MILLISECOND + 1)

    def release(self) -> None:
        if hasattr(self, "indexes"):
            self.indexes.close()


class Windows(_Ordered):
    """The windows of one entity, and after the last entity the score: records of predictions."""

    kind = Admitted

    def __init__(self, plan: Plan, entity: int, *, last: bool) -> None:
        super().__init__(plan)
        self.entity, self.last = entity, last
        self.name, self.place = f"windows-{entity}", 2 + entity

    def open(self, runtime_context: Any) -> None:
        self.ending = ExitStack()
        super().open(runtime_context)
        columns = self.pipeline.plan().columns
        custom = chain([f.function for f in columns if f.function is not None])
        self.turns = Turns(self.entity)
        self.windows = None
        if self.entities:
            self.windows = LaneWindows(
                self.entities[self.entity],
                self.numbers[self.entity],
                custom,
                self.store_of,
                self.plan.lanes,
                self.plan.memory_bytes // len(self.entities),
                strict=self.plan.strict,
            )
        if self.last and not self.plan.leaving:
            settings, folder = self.plan.settings, TemporaryDirectory(prefix="headrace-models-")
            self.ending.callback(folder.cleanup)
            self.scorer = Scorer(self.pipeline)
            self.versions = VersionInForce(
                self.pipeline, settings.broker(), settings, self.scorer, Path(folder.name)
            )
            self.ending.callback(self.versions.close)

    def settle(self, lane: int, where: str) -> list[str]:
        if not self.entities:
            return []
        plan, pipeline = self.entities[self.entity], self.pipeline
        store, warm_up = self.store_of(lane), self.plan.warm_up
        said = settle_windows(store, plan, pipeline, where, warm_up=warm_up)
        if said and self.plan.strict and self.held_of(lane).earliest_us is not None:
            raise StateError(
                f"{where}: rows wait here that the old features were begun of; take the savepoint "
                "anew with the old pipeline"
            )
        return said

    def lanes_in(self, rows: Admitted) -> Int64s:
        if not self.entities:
            return np.maximum(rows.number, 0) % self.plan.lanes
        return lanes_of(rows.keys[:, self.numbers[self.entity]], self.plan.lanes)

    def in_turn(self, reader: int, rows: Admitted) -> Admitted | None:
        return self.turns.push(reader, rows) if self.entities else rows

    def carry(self, reader: int, rows: Admitted) -> Iterator[Any]:
        if self.windows is not None:
            self.windows.take(rows)
        if not self.last:
            lanes = lanes_of(rows.keys[:, self.numbers[self.entity + 1]], self.plan.lanes)
            yield from self.parcels(rows, lanes, reader, 0)
            return
        self.versions.swap()
        if letters := self.versions.letters():
            yield from self.refused(letters)
        keys, values = self.scorer.take(rows)
        headers = picked(rows.headers, np.flatnonzero(rows.number >= 0))
        fields = map(headers_field, headers) if headers else repeat(None, len(keys))
        for record in zip(keys, values, fields, strict=True):
            yield Row(*record)

    def refused(self, letters: list[DeadLetter]) -> Iterator[Any]:
        """Letters about versions: one task of all that read them sends them."""
        if self.task == 0:
            yield from self.letters(letters)

    def release(self) -> None:
        self.ending.close()
