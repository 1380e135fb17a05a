"""The operators as Flink's keyed process functions: read, index, windows, score.

Flink's key is a lane. A function is made where the job is submitted, pickled, and opened in the
tasks; what it works with is made there. It runs in thread mode, inside the TaskManager's JVM.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import msgspec
import numpy as np
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.flink_host.parcel import BODY, address_of, parcel, parcels
from jobs.flink_host.release import RELEASE
from jobs.flink_host.thread_state import adopt
from jobs.lanes.held import NEVER, Held
from jobs.lanes.indexing import LaneIndexes
from jobs.lanes.lanes import Int64s, lanes_of, runs
from jobs.lanes.newest import NewestVersion
from jobs.lanes.reading import Reader, inputs_of
from jobs.lanes.rows import Admitted, Arrivals
from jobs.lanes.scoring import Scorer
from jobs.lanes.turns import Turns
from jobs.lanes.windows import LaneWindows
from jobs.load_pipeline import load_pipeline
from jobs.topic_records import letter_records
from operators.featurize import chain
from streams.errors import ConfigError, DeadLetter
from streams.topics import TRANSACTIONS

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
RECORD = Types.ROW([BYTES, BYTES])
"""Key and value of a record of a topic."""
OUTCOMES_TAG = OutputTag("outcomes", RECORD)
LETTERS_TAG = OutputTag("dead-letters", RECORD)
TURN_S = 0.02
"""How long a reader reads before it lets Flink take a checkpoint."""
WAIT_S = 0.004
"""How long it waits for a record; all readers of a task together."""
SWITCH_S = 0.0005
"""How long a thread of Python waits for another: the operators of a task share one interpreter."""
SMALL = 512
"""With so many records in a batch, a reader goes on at once."""
MILLISECOND = 1000


@dataclass(frozen=True)
class Plan:
    """What every function of a job is given."""

    settings: Settings
    keys: tuple[str, ...]
    """Flink's key of each lane."""
    tasks: int
    """How many there are of each operator."""
    memory_bytes: int
    """Of the records that a task keeps at hand."""
    pace_s: float
    """The least time between two batches of a reader, while they are small."""
    release: str
    """Of the code that put the job together."""
    definition: str
    """Of the pipeline as it was there."""

    @property
    def lanes(self) -> int:
        """How many there are."""
        return len(self.keys)

    @property
    def strict(self) -> bool:
        """Whether rows wait to be sorted."""
        return self.settings.order == "strict"


class Lanes:
    """Flink's current key, moved from lane to lane: a parcel has rows of several."""

    def __init__(self, context: Any, keys: tuple[str, ...]) -> None:
        from pemja import findClass  # noqa: PLC0415 - there is one only inside Flink's process

        self._backend = context._keyed_state_backend._keyed_state_backend  # noqa: SLF001
        row, self._rows = findClass("org.apache.flink.types.Row"), []
        for key in keys:
            made = row(1)
            made.setField(0, key)
            self._rows.append(made)
        self._places = {key: lane for lane, key in enumerate(keys)}

    def enter(self, lane: int) -> None:
        """Let what states hold be that of this lane, which must be one of the task's own."""
        self._backend.setCurrentKey(self._rows[lane])

    def of(self, key: str) -> int:
        """The lane that Flink knows by a key."""
        return self._places[key]


class FlinkStore:
    """A map state of the current key, as a `jobs.lanes.store.Store`.

    It speaks to Java's own: Flink's Python would make a tuple of a byte array, number by number.
    """

    def __init__(self, context: Any, name: str) -> None:
        described = MapStateDescriptor(name, BYTES, BYTES)
        self._java = context.get_map_state(described)._state  # noqa: SLF001

    def get(self, key: bytes) -> bytes | None:
        found: bytes | None = self._java.get(key)
        return found

    def put_all(self, entries: Mapping[bytes, bytes]) -> None:
        self._java.putAll(entries)

    def remove(self, key: bytes) -> None:
        self._java.remove(key)

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        for entry in self._java.entries():
            yield entry.getKey(), entry.getValue()


class FlinkValue:
    """A value state of the current key, in bytes; spoken to as `FlinkStore` does."""

    def __init__(self, context: Any, name: str) -> None:
        described = ValueStateDescriptor(name, BYTES)
        self._java = context.get_state(described)._state  # noqa: SLF001

    def get(self) -> bytes | None:
        """The value, None if there is none."""
        found: bytes | None = self._java.value()
        return found

    def put(self, value: bytes) -> None:
        """Put another in its place."""
        self._java.update(value)


class _Function(KeyedProcessFunction):  # type: ignore[misc]
    """What all have in common."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def open(self, runtime_context: Any) -> None:
        adopt()
        # What is collected in another operator's name may ask for the lock it holds: see `adopt`.
        gc.disable()
        sys.setswitchinterval(SWITCH_S)
        self.context = runtime_context
        self.pipeline: Pipeline = load_pipeline(self.plan.settings.pipeline)
        self.check()
        self.lanes = Lanes(runtime_context, self.plan.keys)
        self.entities = self.pipeline.plan().entities
        keys = self.pipeline.event.keys
        self.numbers = [keys.index(each.key) for each in self.entities]

    def check(self) -> None:
        """Refuse to run in a way that the job was not made for. Raises ConfigError."""
        if not hasattr(self.context._keyed_state_backend, "_keyed_state_backend"):  # noqa: SLF001
            raise ConfigError(
                "wanted Flink's Python in thread mode, got a process of its own for this operator: "
                "is python.execution-mode `thread` on the cluster, and pemja installed there?"
            )
        if self.plan.release != RELEASE:
            raise ConfigError(
                f"wanted release {self.plan.release}, which the job was submitted with, got "
                f"{RELEASE} in this TaskManager: install the same code and libraries there and "
                "restart it, for it imports them once (`headrace down flink`, `headrace up flink`)"
            )
        if self.plan.definition != self.pipeline.definition:
            raise ConfigError(
                f"{self.plan.settings.pipeline}: wanted the pipeline of definition "
                f"{self.plan.definition}, which the job was submitted with, got "
                f"{self.pipeline.definition} here: copy the file to this machine"
            )

    def letters(self, letters: list[DeadLetter]) -> Iterator[Any]:
        """Dead letters, beside the rows."""
        for key, value in zip(*letter_records(letters), strict=True):
            yield LETTERS_TAG, Row(key, value)

    def parcels(
        self, rows: Arrivals | Admitted, lanes: Int64s, reader: int, time_us: int
    ) -> Iterator[bytes]:
        """Rows on their way to the tasks that own these lanes."""
        yield from parcels(rows, lanes, self.plan.lanes, self.plan.tasks, reader, time_us)


class Reading(_Function):
    """Readers: records of topics in, rows for the index out. Each runs by a timer of its own."""

    def open(self, runtime_context: Any) -> None:
        super().open(runtime_context)
        self.kept = FlinkValue(runtime_context, "reader")
        self.broker = self.plan.settings.broker()
        self.readers: dict[int, Reader] = {}
        self.told = NEVER

    def process_element(self, value: bytes, ctx: Any) -> Iterator[Any]:
        """A seed: begin, if there is anything to read."""
        adopt()
        if inputs_of(self.broker, self.plan.settings, address_of(value).lane, self.plan.lanes):
            self.again(ctx)
        yield from ()

    def again(self, ctx: Any) -> None:
        """Take another turn, after whatever else waits for this task."""
        timers = ctx.timer_service()
        timers.register_processing_time_timer(timers.current_processing_time())

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        adopt()
        number = self.lanes.of(ctx.get_current_key())
        reader = self.readers.get(number) or self.begin(number)
        deadline = time.monotonic() + TURN_S
        taken = 0
        while True:
            before = self.time()
            if self.plan.strict and before > self.told:
                # What was read before is all out: time may move on.
                self.told = before
                yield parcel(number, number, before)
            began = time.monotonic()
            rows, letters, count = reader.take(WAIT_S / len(self.readers))
            taken += count
            if letters:
                yield from self.letters(letters)
            if rows is not None:
                lanes = lanes_of(rows.batch.idents[:, 0], self.plan.lanes)
                yield from self.parcels(rows, lanes, number, before)
            left = began + self.plan.pace_s - time.monotonic()
            if 0 < count < SMALL and left > 0:
                time.sleep(left)
            if not count or time.monotonic() > deadline:
                break
        if taken:
            self.kept.put(reader.state())
        self.again(ctx)

    def time(self) -> int:
        """How far event time is, by the reader of this task that is furthest behind."""
        behind = [each.newest_us for each in self.readers.values() if not each.idle]
        return min(behind) if behind else max(each.newest_us for each in self.readers.values())

    def begin(self, number: int) -> Reader:
        """The reader of this number, where its state stands."""
        plan = self.plan
        inputs = inputs_of(self.broker, plan.settings, number, plan.lanes)
        reader = Reader(
            self.pipeline, self.broker, plan.settings, inputs, plan.lanes, plan.tasks,
            self.kept.get(),
        )  # fmt: skip
        self.readers[number] = reader
        return reader

    def close(self) -> None:
        for reader in self.readers.values():
            reader.close()


class _Ordered(_Function):
    """An operator whose rows wait for the watermark, if the order is strict."""

    kind: type[Any]
    name: str

    def open(self, runtime_context: Any) -> None:
        super().open(runtime_context)
        self.store = FlinkStore(runtime_context, self.name)
        self.waiting = FlinkStore(runtime_context, f"{self.name}-held")
        self.held: dict[int, Held[Any]] = {}

    def process_element(self, value: bytes, ctx: Any) -> Iterator[Any]:
        adopt()
        if len(value) == BODY:
            return
        reader = address_of(value).reader
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

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        adopt()
        held = self.held_of(self.lanes.of(ctx.get_current_key()))
        rows = held.release((ctx.timer_service().current_watermark() + 1) * MILLISECOND)
        self.remind(held, ctx)
        if rows is not None:
            yield from self.carry(0, rows)

    def carry(self, reader: int, rows: Any) -> Iterator[Any]:
        """Work on rows, in order."""
        raise NotImplementedError


class Indexing(_Ordered):
    """The index: rows as they were read in, admitted events and known labels out."""

    kind, name = Arrivals, "index"

    def open(self, runtime_context: Any) -> None:
        super().open(runtime_context)
        self.folder = Path(mkdtemp(prefix="headrace-index-"))
        lanes = self.plan.lanes
        self.indexes = LaneIndexes(self.pipeline, lanes, self.store_of, self.folder)
        self.topic = self.plan.settings.topic(TRANSACTIONS)

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

    def close(self) -> None:
        self.indexes.close()
        self.folder.rmdir()


class Windows(_Ordered):
    """The windows of one entity, and after the last entity the score: records of predictions."""

    kind = Admitted

    def __init__(self, plan: Plan, entity: int, *, last: bool) -> None:
        super().__init__(plan)
        self.entity, self.last = entity, last
        self.name = f"windows-{entity}"

    def open(self, runtime_context: Any) -> None:
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
            )
        if self.last:
            settings = self.plan.settings
            self.scorer = Scorer(self.pipeline)
            self.versions = NewestVersion(
                self.pipeline, settings.broker(), settings, self.scorer,
                Path(mkdtemp(prefix="headrace-models-")),
            )  # fmt: skip

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
        for key, value in zip(*self.scorer.take(rows), strict=True):
            yield Row(key, value)

    def refused(self, letters: list[DeadLetter]) -> Iterator[Any]:
        """Letters about versions: one task of all that read them sends them."""
        if self.context.get_index_of_this_subtask() == 0:
            yield from self.letters(letters)

    def close(self) -> None:
        if self.last:
            self.versions.close()
