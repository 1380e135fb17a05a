"""The stages of lanes on Faust, killed between any two steps: what they know is known once."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.config import Settings
from jobs.faust_host.lane import claim
from jobs.faust_host.parcel import Head, parcels
from jobs.faust_host.plan import Plan
from jobs.faust_host.stages import Indexing, Serving, Stage, Windows
from jobs.faust_host.table import LaneTable, Records
from jobs.lanes.held import NEVER
from jobs.lanes.lanes import lanes_of
from jobs.lanes.rows import Arrivals
from jobs.lanes.scoring import Scorer
from jobs.monitoring.monitor import Monitor
from streams.batch import EVENT, Batch
from streams.errors import DeadLetter, StateError
from streams.memory import Cluster, MemoryBroker
from streams.records import Outcomes
from streams.schema import duration_us
from tests.batches import PIPELINE, Row, cuts, delays, pieces, transactions, with_labels
from tests.test_lanes import by_id, by_number, of_one_process, told

ALL = 2**62


class DictCopy:
    """A copy of a partition of the changelog, in memory."""

    def __init__(self, records: Records) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.write(records, 0)

    def get(self, key: bytes) -> bytes | None:
        return self.entries.get(key)

    def items(self, first: bytes) -> list[tuple[bytes, bytes]]:
        return sorted(each for each in self.entries.items() if each[0] >= first)

    def write(self, records: Records, offset: int) -> None:
        for key, value in records:
            self.entries.pop(key, None)
            if value is not None:
                self.entries[key] = value


class Unchanging:
    """No version comes."""

    def swap(self) -> None:
        pass

    def letters(self) -> list[DeadLetter]:
        return []


class World:
    """Topics that keep what they get, and lanes that are lost and opened again."""

    def __init__(self, lanes: int, folder: Path, chance: Random) -> None:
        broker = MemoryBroker(Cluster())
        settings = Settings(order="strict")
        self.plan = Plan(settings, PIPELINE, broker, lanes, 1 << 24, folder)
        self.chance = chance
        self.logs = {at: list[bytes]() for at in self.places}
        self.done = dict.fromkeys(self.places, 0)
        self.taken = dict(self.done)
        self.changelogs: list[Records] = [[] for _ in range(lanes)]
        self.tables: list[LaneTable] = []
        self.stages: list[list[Stage]] = []
        self.said: list[bytes] = []
        self.outcomes: dict[tuple[int, int], Outcomes] = {}
        for _ in range(lanes):
            self.tables.append(LaneTable(DictCopy([])))
            self.stages.append([])
        for lane in range(lanes):
            self.open(lane)

    @property
    def places(self) -> list[tuple[int, int]]:
        count = len(self.plan.stages)
        return [(place, lane) for place in range(count) for lane in range(self.plan.lanes)]

    def open(self, lane: int) -> None:
        """As a worker that has a lane now: all it knows is what was committed."""
        for stage in self.stages[lane]:
            stage.close()
        table = self.tables[lane] = LaneTable(DictCopy(self.changelogs[lane]))
        monitor = Monitor("score", pipeline="p", definition="d")
        serving = Serving(Scorer(PIPELINE), Unchanging(), monitor)  # type: ignore[arg-type]
        self.stages[lane] = [
            Indexing(self.plan, lane, table),
            *(Windows(self.plan, lane, n, table, serving) for n in range(1, len(self.plan.stages))),
        ]
        for place in range(len(self.plan.stages)):
            # Faust commits what was acknowledged later, so what comes again may be older.
            done = self.done[place, lane]
            self.taken[place, lane] = max(0, done - self.chance.randrange(3))

    def deliver(self, place: int, lane: int) -> None:
        at = self.taken[place, lane]
        for out in self.stages[lane][place].take(self.logs[place, lane][at], at):
            if out.topic in self.plan.stages:
                to = self.plan.stages.index(out.topic), out.partition
                self.logs[to] += out.values
            elif out.topic == "predictions":
                self.said += out.values
            elif out.topic == "outcomes":
                for each in out.values:
                    one = msgspec.json.decode(each, type=Outcomes)
                    if one.numbers:  # else it says how far time has come, and nothing else
                        self.outcomes.setdefault((one.lane, one.before), one)
        self.taken[place, lane] += 1

    def commit(self, lane: int, arrived: float = 1.0) -> None:
        """A commit of which this share reaches the changelog before the worker dies."""
        records = self.tables[lane].begin()
        self.changelogs[lane] += records[: int(len(records) * arrived)]
        if arrived < 1.0:
            self.open(lane)
            return
        self.tables[lane].end(records, 0)
        for place in range(len(self.plan.stages)):
            self.done[place, lane] = self.taken[place, lane]

    def read(self, batch: Batch | None, time_us: int) -> None:
        """What a reader hands on; it may have done so before."""
        rows = None
        if batch is not None:
            n = len(batch)
            rows = Arrivals(batch, np.zeros(n, np.bool_), np.full((n, 2), -1), [b""] * n)
        lanes = None if batch is None else lanes_of(batch.idents[:, 0], self.plan.lanes)
        head = Head(0, False, 0, time_us)
        for lane, raw in parcels(rows, lanes, head, range(self.plan.lanes)):
            self.logs[0, lane].append(raw)

    def waiting(self) -> list[tuple[int, int]]:
        return [at for at in self.places if self.taken[at] < len(self.logs[at])]

    def go_on(self, steps: int, *, calm: bool = False) -> None:
        """Deliver what waits, in any order, and let lanes commit and die now and then."""
        while steps and (waiting := self.waiting()):
            steps -= 1
            self.deliver(*self.chance.choice(waiting))
            lane, what = self.chance.randrange(self.plan.lanes), self.chance.random()
            if what < 0.2:
                self.commit(lane)
            elif what < 0.3 and not calm:
                self.open(lane)
            elif what < 0.4 and not calm:
                self.commit(lane, self.chance.random())


@given(transactions(), delays, delays, cuts, st.integers(1, 3), st.randoms(use_true_random=False))
def test_lanes_killed_at_any_moment_say_what_one_process_says(
    rows: list[Row],
    late: list[int],
    later: list[int],
    edges: list[int],
    lanes: int,
    chance: Random,
) -> None:
    second = [each for each in with_labels(rows, later) if each.fraud is not None]
    told_twice = [*with_labels(rows, late), *(replace(each, time=each.time + 1) for each in second)]
    batches = pieces(sorted(told_twice, key=lambda row: row.place), edges)
    offset, newest, times = 0, NEVER, []
    for batch in batches:
        batch.partition[:] = 0
        batch.offset[:] = np.arange(offset, offset + len(batch))
        offset += len(batch)
        events = batch.time[batch.kind == EVENT]
        newest = max(newest, int(events.max()) if len(events) else NEVER)
        times.append(newest - duration_us(PIPELINE.lateness) if newest != NEVER else NEVER)
    said, _, known = of_one_process(batches)
    with tempfile.TemporaryDirectory() as folder:
        world = World(lanes, Path(folder), chance)
        place = 0
        while place < len(batches):
            world.read(batches[place], times[place])
            world.go_on(chance.randrange(12))
            # A reader that was killed reads again what it had not committed.
            place = place + 1 if chance.random() < 0.8 else max(0, place - chance.randrange(3))
        world.read(None, ALL)
        world.go_on(200)
        world.go_on(-1, calm=True)
        assert by_id(world.said) == said
        assert len(set(world.said)) == len(said)
        labelled = {k: v for k, v in known.items() if k[3] != 1}
        mine = told(list(world.outcomes.values()), by_number(world.said))
        assert {k: mine.count(k) for k in mine if k[3] != 1} == labelled


def test_the_state_of_another_pipeline_or_order_is_refused(tmp_path: Path) -> None:
    plan = Plan(Settings(), PIPELINE, MemoryBroker(Cluster()), 1, 1, tmp_path)
    copy = DictCopy([])
    table = LaneTable(copy)
    claim(table, plan)
    table.end(table.begin(), 0)
    claim(LaneTable(copy), plan)
    for other in (
        replace(plan, settings=Settings(order="strict")),
        replace(plan, pipeline=replace(PIPELINE, retention="40d")),
    ):
        with pytest.raises(StateError, match="wanted the state of pipeline small, definition"):
            claim(LaneTable(copy), other)
