"""The operators of a lane: index and windows, each fed by a repartition topic, to topics.

A stage takes parcels in the order of its partition and is a function of them, so after a failure
the same come out again under the same numbers, and whoever has had them leaves them aside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
import numpy as np

from jobs.faust_host.outlet import ANY
from jobs.faust_host.parcel import BODY, PARTS, Head, head_of, parcels
from jobs.faust_host.plan import Plan
from jobs.faust_host.table import LaneTable, Part
from jobs.lanes.held import NEVER, Held
from jobs.lanes.in_force import VersionInForce
from jobs.lanes.indexing import LaneIndexes
from jobs.lanes.lanes import Int64s, lanes_of
from jobs.lanes.rows import Admitted, Arrivals
from jobs.lanes.scoring import Scorer
from jobs.lanes.windows import LaneWindows
from jobs.monitoring.monitor import Monitor
from jobs.topic_records import letter_records
from streams.errors import DeadLetter
from streams.topics import DEAD_LETTERS, OUTCOMES, PREDICTIONS, TRANSACTIONS


class Out(NamedTuple):
    """Records for a topic; its partition, or ANY where that is the key's."""

    topic: str
    keys: Sequence[bytes | None]
    values: Sequence[bytes]
    partition: int = ANY


class Serving(NamedTuple):
    """What scores, in all lanes of a worker."""

    scorer: Scorer
    versions: VersionInForce
    monitor: Monitor
    """What the worker says of itself."""


class _Standing(msgspec.Struct, array_like=True):
    """Where a stage stands."""

    next: int = 0
    """The next parcel of its topic."""
    numbers: dict[int, int] = {}
    """The number of the last parcel of each lane before it."""
    times: dict[int, int] = {}
    """How far time is in those."""
    idle: list[int] = []
    """Those that time does not wait for."""
    before_us: int = NEVER
    """All rows before this time have come."""
    offsets: dict[int, int] = {}
    """Of the index: the next offset of each input, by kind and partition."""


class Stage:
    """One operator of a lane; rows wait for time to pass, if the order is strict."""

    kind: type[Any]

    def __init__(self, plan: Plan, lane: int, place: int, table: LaneTable) -> None:
        self.plan, self.lane, self.place = plan, lane, place
        self._table, self._key = table, b"s%02d" % place
        raw = table.get(self._key)
        self.at = _Standing() if raw is None else msgspec.msgpack.decode(raw, type=_Standing)
        self.store = Part(table, b"k%02d" % place)
        self.onward: list[Admitted] = []
        """Rows on their way to the next stage."""
        self._held: Held[Any] | None = None
        if plan.strict:
            self._held = Held(self.kind, Part(table, b"h%02d" % place))

    def take(self, raw: bytes, offset: int) -> Iterator[Out]:
        """What a parcel leads to; nothing if it was taken before."""
        at = self.at
        if offset < at.next:
            return
        at.next = offset + 1
        head, before_us = head_of(raw), at.before_us
        if self.place == 0 or head.number > at.numbers.get(head.lane, -1):
            at.numbers[head.lane] = head.number
            body = memoryview(raw)[BODY:]
            rows = self.fresh(self.kind.unpack(body)) if body else None
            if self._held is None:
                yield from self._carried(rows)
            else:
                yield from self._in_order(self._held, rows, head)
            yield from self._onward(offset * PARTS, before_us)
        self._table.change({self._key: msgspec.msgpack.encode(at)})

    def _in_order(self, held: Held[Any], rows: Any | None, head: Head) -> Iterator[Out]:
        at = self.at
        yield from self._carried(held.push(rows, at.before_us) if rows is not None else None)
        if head.time_us != NEVER:
            at.times[head.lane] = max(head.time_us, at.times.get(head.lane, NEVER))
        at.idle = [each for each in at.idle if each != head.lane] + [head.lane] * head.idle
        before_us = self.time()
        if before_us > at.before_us:
            at.before_us = before_us
            yield from self._carried(held.release(before_us))
            yield from self.passed(before_us)

    def _carried(self, rows: Any | None) -> Iterator[Out]:
        if rows is not None and len(rows):
            yield from self.carry(rows)

    def time(self) -> int:
        """All before this time has come, by what the lanes before this one have said."""
        lanes = self.plan.readers if self.place == 0 else range(self.plan.lanes)
        times = {lane: self.at.times.get(lane, NEVER) for lane in lanes}
        behind = [time_us for lane, time_us in times.items() if lane not in self.at.idle]
        return min(behind) if behind else max(times.values(), default=NEVER)

    def _onward(self, number: int, before_us: int) -> Iterator[Out]:
        """Rows to the next stage, and to all its lanes the time, if that was `before_us` before."""
        if self.place + 1 == len(self.plan.stages):
            return
        head = Head(self.lane, False, number, self.at.before_us)
        tell = range(self.plan.lanes) if head.time_us > before_us else ()
        rows = Admitted.concat(self.onward) if self.onward else None
        lanes = self.next_lanes(rows) if rows is not None else None
        self.onward = []
        for lane, parcel in parcels(rows, lanes, head, tell):
            yield Out(self.plan.stages[self.place + 1], [None], [parcel], lane)

    def next_lanes(self, rows: Admitted) -> Int64s:
        """The lanes of rows in the next stage."""
        plan = self.plan
        if not plan.entities:
            return np.maximum(rows.number, 0) % plan.lanes
        return lanes_of(rows.keys[:, plan.numbers[self.place]], plan.lanes)

    def letters(self, letters: list[DeadLetter]) -> Iterator[Out]:
        """Dead letters."""
        if letters:
            yield Out(self.plan.settings.topic(DEAD_LETTERS), *letter_records(letters))

    def fresh(self, rows: Any) -> Any:
        """Rows without those that came before."""
        return rows

    def carry(self, rows: Any) -> Iterator[Out]:
        """Work on rows, in order; those that go on are added to `onward`."""
        raise NotImplementedError

    def passed(self, before_us: int) -> Iterator[Out]:
        """Do what is due once all rows before this time have come."""
        yield from ()

    def close(self) -> None:
        """Let go of scratch files."""


class Indexing(Stage):
    """The index: rows as they were read in, admitted events and known labels out."""

    kind = Arrivals

    def __init__(self, plan: Plan, lane: int, table: LaneTable) -> None:
        super().__init__(plan, lane, 0, table)
        self._indexes = LaneIndexes(plan.pipeline, plan.lanes, lambda _: self.store, plan.folder)

    def fresh(self, rows: Arrivals) -> Arrivals:
        """What a reader reads again, after a failure, comes in another cut: told by offsets."""
        batch, offsets = rows.batch, self.at.offsets
        inputs = (batch.kind.astype(np.int64) << 32) | batch.partition
        fresh = np.ones(len(batch), np.bool_)
        for each in np.unique(inputs).tolist():
            mine = inputs == each
            fresh &= ~mine | (batch.offset >= offsets.get(each, 0))
            offsets[each] = max(offsets.get(each, 0), int(batch.offset[mine].max()) + 1)
        return rows if fresh.all() else rows.take(np.flatnonzero(fresh))

    def carry(self, rows: Arrivals) -> Iterator[Out]:
        admitted, outcomes, letters = self._indexes.take(rows)
        topic = self.plan.settings.topic(TRANSACTIONS)
        yield from self.letters([replace(each, topic=topic) for each in letters])
        yield from self._told([each for _, each in outcomes])
        self.onward.append(admitted)

    def passed(self, before_us: int) -> Iterator[Out]:
        """Let events mature though no row has come to this lane since."""
        index = self._indexes.lane(self.lane, self.store)
        yield from self._told(index.advance(before_us, self.store))

    def _told(self, outcomes: list[Any]) -> Iterator[Out]:
        if outcomes:
            values = [msgspec.json.encode(each) for each in outcomes]
            keys = [b"%d" % self.lane] * len(values)
            yield Out(self.plan.settings.topic(OUTCOMES), keys, values)

    def close(self) -> None:
        self._indexes.close()


class Windows(Stage):
    """The windows of one entity, and after the last entity the score: records of predictions."""

    kind = Admitted

    def __init__(
        self, plan: Plan, lane: int, place: int, table: LaneTable, serving: Serving
    ) -> None:
        super().__init__(plan, lane, place, table)
        self._last = place + 1 == len(plan.stages)
        self._serving = serving
        self._windows = None
        if plan.entities:
            self._windows = LaneWindows(
                plan.entities[place - 1],
                plan.numbers[place - 1],
                plan.custom,
                lambda _: self.store,
                plan.lanes,
                plan.memory_bytes // (len(plan.entities) * plan.lanes),
            )

    def carry(self, rows: Admitted) -> Iterator[Out]:
        if self._windows is not None:
            self._windows.take(rows)
        if not self._last:
            self.onward.append(rows)
            return
        scorer, versions, monitor = self._serving
        versions.swap()
        monitor.model.serves(scorer.sequence, monitor.now_us())
        if self.lane == 0:
            # Every worker reads the versions; one of them has lane 0.
            refused = versions.letters()
            monitor.model.refused += len(refused)
            yield from self.letters(refused)
        keys, values = scorer.take(rows)
        if values:
            yield Out(self.plan.settings.topic(PREDICTIONS), keys, values)
