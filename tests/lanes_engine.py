"""An engine as it drives the operators of lanes, in memory: stores, time, and what waits for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jobs.definition import Pipeline
from jobs.lanes.described import settle_index, settle_windows
from jobs.lanes.headers import picked
from jobs.lanes.held import NEVER, Held
from jobs.lanes.indexing import LaneIndexes
from jobs.lanes.lanes import lanes_of, runs
from jobs.lanes.rows import Admitted, Arrivals
from jobs.lanes.scoring import Scorer
from jobs.lanes.store import MemoryStore
from jobs.lanes.windows import LaneWindows
from operators.featurize import chain
from streams.batch import EVENT, Batch
from streams.broker import Headers
from streams.records import Outcomes
from streams.schema import duration_us
from tests.batches import PIPELINE

PLENTY = 1 << 30


def arrivals(batch: Batch) -> Arrivals:
    n = len(batch)
    headers = [traced(each) for each in batch.texts[0].to_pylist()]
    some = headers if any(headers) else None
    return Arrivals(batch, np.zeros(n, np.bool_), np.full((n, 2), -1), [b""] * n, some)


def traced(number: int) -> Headers | None:
    """The headers that all records of an id have here: every second id has some."""
    return [["trace", b"%d" % number]] if number % 2 else None  # type: ignore[list-item]


@dataclass
class Engine:
    """What an engine does with the operators, in strict order: it keeps stores and moves time."""

    lanes: int
    folder: Path
    most_bytes: int = PLENTY
    pipeline: Pipeline = PIPELINE
    said: list[bytes] = field(default_factory=list)
    headers: list[Headers | None] = field(default_factory=list)
    """Those of what was said."""
    outcomes: list[Outcomes] = field(default_factory=list)
    conflicts: int = 0

    def __post_init__(self) -> None:
        self.stores: dict[tuple[str, int], MemoryStore] = {}
        self.newest = NEVER
        # How far time is at the index and at each entity's windows: it gets there last.
        self.at = [NEVER] * (1 + len(self.pipeline.plan().entities))
        self.begin()

    def begin(self) -> None:
        """Have nothing in memory, as after a restart or a move."""
        plan, keys = self.pipeline.plan(), self.pipeline.event.keys
        for lane in range(self.lanes):
            settle_index(self.store("index", lane), self.pipeline, "index")
            for place, entity in enumerate(plan.entities):
                store = self.store(f"windows-{place}", lane)
                settle_windows(store, entity, self.pipeline, "windows", warm_up=False)
        custom = chain([f.function for f in plan.columns if f.function is not None])
        self.indexes = LaneIndexes(
            self.pipeline, self.lanes, partial(self.store, "index"), self.folder
        )
        self.windows = [
            LaneWindows(
                entity,
                keys.index(entity.key),
                custom,
                partial(self.store, f"windows-{place}"),
                self.lanes,
                self.most_bytes,
                strict=True,
            )
            for place, entity in enumerate(plan.entities)
        ]
        self.scorer = Scorer(self.pipeline)
        self.held: dict[tuple[str, int], Held[Any]] = {}

    def restart(self, pipeline: Pipeline | None = None) -> None:
        self.indexes.close()
        self.pipeline = pipeline or self.pipeline
        self.begin()

    def store(self, name: str, lane: int) -> MemoryStore:
        return self.stores.setdefault((name, lane), MemoryStore())

    def hold(self, kind: type[Any], name: str, lane: int) -> Held[Any]:
        if (name, lane) not in self.held:
            self.held[name, lane] = Held(kind, self.store(f"{name}-held", lane))
        return self.held[name, lane]

    def take(self, batch: Batch) -> None:
        self.arrive(arrivals(batch))

    def arrive(self, arrivals: Arrivals) -> None:
        batch = arrivals.batch
        for lane, rows in self.parts(arrivals, batch.idents[:, 0]):
            late = self.hold(Arrivals, "index", lane).push(rows, self.at[0])
            if late is not None:
                self.admit(late)
        # What one batch brings to several lanes, or several parts of it to one, is kept once.
        self.indexes.keep()
        events = batch.time[batch.kind == EVENT]
        self.newest = max(self.newest, int(events.max()) if len(events) else NEVER)
        self.advance(self.newest - duration_us(self.pipeline.lateness))

    def advance(self, before: int) -> None:
        """Time has passed: every operator lets go what waited for it, the first one first."""
        for lane in range(self.lanes):
            rows = self.hold(Arrivals, "index", lane).release(before)
            if rows is not None:
                self.admit(rows)
        self.indexes.keep()
        self.at[0] = before
        for place in range(len(self.windows)):
            for lane in range(self.lanes):
                rows = self.hold(Admitted, f"windows-{place}", lane).release(before)
                if rows is not None:
                    self.carry(place, lane, rows)
            self.at[place + 1] = before

    def admit(self, rows: Arrivals) -> None:
        admitted, outcomes, letters = self.indexes.admit(Arrivals.unpack(rows.pack()))
        self.outcomes += [each for _, each in outcomes]
        self.conflicts += len(letters)
        self.send(0, admitted)

    def send(self, place: int, rows: Admitted) -> None:
        number = self.windows[place].number
        for lane, part in self.parts(rows, rows.keys[:, number]):
            moved = Admitted.unpack(part.pack())
            late = self.hold(Admitted, f"windows-{place}", lane).push(moved, self.at[place + 1])
            if late is not None:
                self.carry(place, lane, late)

    def carry(self, place: int, lane: int, rows: Admitted) -> None:
        self.windows[place].take(rows)
        if place + 1 < len(self.windows):
            self.send(place + 1, rows)
        else:
            self.said += self.scorer.take(rows)[1]
            events = np.flatnonzero(rows.number >= 0)
            self.headers += picked(rows.headers, events) or [None] * len(events)

    def parts(self, rows: Any, idents: Any) -> list[tuple[int, Any]]:
        order, found = runs(lanes_of(idents, self.lanes))
        whole = rows.take(order)
        return [(lane, whole[start:stop]) for lane, start, stop in found]

    def counts(self) -> Counter[str]:
        total = Counter[str]()
        for lane in range(self.lanes):
            total.update(self.indexes.lane(lane, self.store("index", lane)).counts)
        return total
