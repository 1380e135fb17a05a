"""The operators as Flink's keyed process functions: index, windows, score.

Flink's key is a lane. A function is made where the job is submitted, pickled, and opened in the
tasks; what it works with is made there. It runs in thread mode, inside the TaskManager's JVM.
"""

from __future__ import annotations

import sys
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

from jobs.flink_host.function import Function
from jobs.flink_host.parcel import BODY, KEEP, NOBODY, address_of
from jobs.flink_host.plan import Plan
from jobs.flink_host.records import RECORD, headers_field
from jobs.flink_host.states import FlinkStore
from jobs.flink_host.thread_state import adopted
from jobs.lanes.described import settle_index, settle_windows
from jobs.lanes.headers import picked
from jobs.lanes.held import NEVER, Held
from jobs.lanes.in_force import VersionInForce
from jobs.lanes.indexing import LaneIndex, LaneIndexes
from jobs.lanes.lanes import Int64s, lanes_of, runs
from jobs.lanes.rows import Admitted, Arrivals
from jobs.lanes.scoring import Scorer
from jobs.lanes.turns import Turns
from jobs.lanes.windows import LaneWindows
from operators.featurize import chain
from streams.errors import DeadLetter, StateError
from streams.topics import TRANSACTIONS

OUTCOMES_TAG = OutputTag("outcomes", RECORD)
MILLISECOND = 1000


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
        self.learnt = False
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
        if sender == NOBODY:
            if time_us == NEVER:
                self.wake(lane, ctx)
            elif time_us == KEEP and self.learnt:
                self.learnt = False
                self.keep()
                yield from self.onwards(reader)
            return
        way = self.arriving[sender]
        if self.plan.together:
            rows = way.rows.popleft()
        else:
            rows = self.kind.unpack(memoryview(value)[BODY:])
        yield from self.held_back(reader, rows, ctx)
        way.work_done()

    def held_back(self, reader: int, rows: Any, ctx: Any) -> Iterator[Any]:
        """Carry on with what need not wait for other rows, or for the watermark."""
        if not self.plan.strict:
            ready = self.in_turn(reader, rows)
            if ready is not None:
                yield from self.carried(reader, ready)
            return
        order, found = runs(self.lanes_in(rows))
        rows = rows.take(order)
        for lane, start, stop in found:
            self.lanes.enter(lane)
            late = self.hold(lane, rows[start:stop], ctx)
            if late is not None:
                yield from self.carried(reader, late)

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
            yield from self.carried(0, rows)
        yield from self.passed(lane, before_us, ctx)

    def wake(self, lane: int, ctx: Any) -> None:
        """Be called when time comes to what was brought into a lane: no row came with it."""
        self.lanes.enter(lane)
        self.remind(self.held_of(lane), ctx)

    def passed(self, lane: int, before_us: int, ctx: Any) -> Iterator[Any]:
        """Do what is due in a lane once all rows before this time have come."""
        yield from ()

    def carried(self, reader: int, rows: Any) -> Iterator[Any]:
        """Work on rows, in order; what waits for them does not wait for the state."""
        yield from self.carry(reader, rows)
        if self.plan.strict:
            self.keep()
        self.learnt = True

    def carry(self, reader: int, rows: Any) -> Iterator[Any]:
        """Work on rows, in order."""
        raise NotImplementedError

    def keep(self) -> None:
        """Write into the state what was learnt from rows."""
        raise NotImplementedError

    def onwards(self, reader: int) -> Iterator[Any]:
        """Have the next operator write down what it has learnt, too."""
        yield from self.plan.kept(reader)


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
        admitted, outcomes, letters = self.indexes.admit(rows)
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

    def keep(self) -> None:
        self.indexes.keep()

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
        return self.turns.push(reader, rows) if self.entities and self.plan.tasks > 1 else rows

    def carry(self, reader: int, rows: Admitted) -> Iterator[Any]:
        if self.windows is not None:
            self.windows.make(rows)
        if self.last:
            yield from self.scored(rows)
        else:
            lanes = lanes_of(rows.keys[:, self.numbers[self.entity + 1]], self.plan.lanes)
            yield from self.parcels(rows, lanes, reader, 0)

    def keep(self) -> None:
        if self.windows is not None:
            self.windows.keep()

    def onwards(self, reader: int) -> Iterator[Any]:
        if not self.last:
            yield from super().onwards(reader)

    def scored(self, rows: Admitted) -> Iterator[Any]:
        """Records of predictions."""
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
