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
from jobs.flink_host.thread_state import adopt
from jobs.lanes.held import NEVER, Held
from jobs.lanes.indexing import LaneIndex
from jobs.lanes.lanes import lanes_of
from jobs.lanes.newest import NewestVersion
from jobs.lanes.reading import Reader, inputs_of
from jobs.lanes.rows import Admitted, Arrivals
from jobs.lanes.scoring import Scorer
from jobs.lanes.windows import LaneWindows
from jobs.load_pipeline import load_pipeline
from jobs.topic_records import letter_records
from operators.featurize import chain
from streams.errors import DeadLetter
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
MILLISECOND = 1000


@dataclass(frozen=True)
class Plan:
    """What every function of a job is given."""

    settings: Settings
    keys: tuple[int, ...]
    """Flink's key of each lane."""
    memory_bytes: int
    """Of the records that a task keeps at hand."""

    @property
    def lanes(self) -> int:
        """How many there are."""
        return len(self.keys)

    @property
    def strict(self) -> bool:
        """Whether rows wait to be sorted."""
        return self.settings.order == "strict"


class FlinkStore:
    """A map state of the current key, as a `jobs.lanes.store.Store`.

    It speaks to Java's own: Flink's Python would make a tuple of a byte array, number by number.
    """

    def __init__(self, context: Any, name: str) -> None:
        self._java = context.get_map_state(MapStateDescriptor(name, BYTES, BYTES))._state

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
        self._java = context.get_state(ValueStateDescriptor(name, BYTES))._state

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

    def letters(self, letters: list[DeadLetter]) -> Iterator[Any]:
        """Dead letters, beside the rows."""
        for key, value in zip(*letter_records(letters), strict=True):
            yield LETTERS_TAG, Row(key, value)


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
        number = address_of(value).lane
        if inputs_of(self.broker, self.plan.settings, number, self.plan.lanes):
            self.again(ctx)
        yield from ()

    def again(self, ctx: Any) -> None:
        """Take another turn, after whatever else waits for this task."""
        timers = ctx.timer_service()
        timers.register_processing_time_timer(timers.current_processing_time())

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        adopt()
        number = self.plan.keys.index(ctx.get_current_key())
        reader = self.readers.get(number) or self.begin(number)
        deadline = time.monotonic() + TURN_S
        taken = 0
        while True:
            before = self.time()
            if self.plan.strict and before > self.told:
                # What was read before is all out: time may move on.
                self.told = before
                yield parcel(self.plan.keys[number], number, before)
            rows, letters, count = reader.take(WAIT_S / len(self.readers))
            taken += count
            if letters:
                yield from self.letters(letters)
            if rows is not None:
                lanes = lanes_of(rows.batch.idents[:, 0], self.plan.lanes)
                yield from parcels(rows, lanes, self.plan.keys, before)
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
        settings = self.plan.settings
        inputs = inputs_of(self.broker, settings, number, self.plan.lanes)
        reader = Reader(self.pipeline, self.broker, settings, inputs, self.kept.get())
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
        lane = address_of(value).lane
        if len(value) == BODY:
            return
        rows = self.kind.unpack(memoryview(value)[BODY:])
        if self.plan.strict:
            rows = self.hold(lane, rows, ctx)
        if rows is not None:
            yield from self.carry(lane, rows)

    def hold(self, lane: int, rows: Any, ctx: Any) -> Any | None:
        """Let rows wait; those that are late are given back."""
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
        lane = self.plan.keys.index(ctx.get_current_key())
        held = self.held_of(lane)
        rows = held.release((ctx.timer_service().current_watermark() + 1) * MILLISECOND)
        self.remind(held, ctx)
        if rows is not None:
            yield from self.carry(lane, rows)

    def carry(self, lane: int, rows: Any) -> Iterator[Any]:
        """Work on rows of the current lane, in order."""
        raise NotImplementedError


class Indexing(_Ordered):
    """The index: rows as they were read in, admitted events and known labels out."""

    kind, name = Arrivals, "index"

    def open(self, runtime_context: Any) -> None:
        super().open(runtime_context)
        self.indexes: dict[int, LaneIndex] = {}
        self.folder = Path(mkdtemp(prefix="headrace-index-"))
        self.topic = self.plan.settings.topic(TRANSACTIONS)
        entities = self.pipeline.plan().entities
        self.next = self.pipeline.event.keys.index(entities[0].key) if entities else None

    def carry(self, lane: int, rows: Arrivals) -> Iterator[Any]:
        index = self.indexes.get(lane) or self.begin(lane)
        admitted, outcomes, letters = index.take(rows)
        for letter in letters:
            yield from self.letters([replace(letter, topic=self.topic)])
        for each in outcomes:
            yield OUTCOMES_TAG, Row(b"%d" % lane, msgspec.json.encode(each))
        yield from sent(admitted, self.next, lane, self.plan)

    def begin(self, lane: int) -> LaneIndex:
        """The index of the current lane, as its store has it."""
        lanes = self.plan.lanes
        self.indexes[lane] = LaneIndex(self.pipeline, lane, lanes, self.store, self.folder)
        return self.indexes[lane]

    def close(self) -> None:
        for index in self.indexes.values():
            index.close()
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
        compiled = self.pipeline.plan()
        keys = self.pipeline.event.keys
        self.numbers = [keys.index(each.key) for each in compiled.entities]
        custom = chain([f.function for f in compiled.columns if f.function is not None])
        self.windows = None
        if compiled.entities:
            number = self.numbers[self.entity]
            most = self.plan.memory_bytes // len(compiled.entities)
            entity = compiled.entities[self.entity]
            self.windows = LaneWindows(entity, number, custom, most)
        if self.last:
            settings = self.plan.settings
            self.scorer = Scorer(self.pipeline)
            self.versions = NewestVersion(
                self.pipeline, settings.broker(), settings, self.scorer,
                Path(mkdtemp(prefix="headrace-models-")),
            )  # fmt: skip

    def carry(self, lane: int, rows: Admitted) -> Iterator[Any]:
        if self.windows is not None:
            self.windows.take(lane, rows, self.store)
        if not self.last:
            yield from sent(rows, self.numbers[self.entity + 1], lane, self.plan)
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


def sent(rows: Admitted, entity: int | None, lane: int, plan: Plan) -> Iterator[bytes]:
    """Rows on their way to the windows of an entity key; without one they stay in their lane."""
    if not len(rows):
        return
    if entity is None:
        lanes = np.full(len(rows), lane)
    else:
        lanes = lanes_of(rows.keys[:, entity], plan.lanes)
    yield from parcels(rows, lanes, plan.keys, int(rows.time.max()))
