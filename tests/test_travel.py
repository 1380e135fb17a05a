"""A stream that goes on in other engines is scored, and learnt from, as if it had stayed."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.config import Settings
from jobs.flink_host.moving import share_out
from jobs.kafka_host.learn_job import LearnJob
from jobs.kafka_host.score_job import ScoreJob
from jobs.lanes.entries import file_of, read_entries, write_entries
from jobs.lanes.reading import Reader, inputs_of
from jobs.lanes.store import MemoryStore
from jobs.travel.embedded import arrive, leave
from jobs.travel.lanes import READER, Share, gather, names_of
from jobs.travel.portable import Portable
from models.manifest import Manifest, Seal
from streams.errors import ConfigError, StateError
from streams.memory.broker import MemoryBroker
from streams.memory.cluster import Clock, Cluster
from streams.memory.log import Log
from streams.records import Outcomes
from streams.schema import DAY, duration_us
from streams.topics import LABELS, MODELS, OUTCOMES, PREDICTIONS, TRANSACTIONS
from tests.batches import HOUR, PIPELINE, Row, delays, transactions, with_labels
from tests.lanes_engine import Engine
from tests.learnt_once import learn_once
from tests.test_lanes import by_id, by_number, told

NOON = 1_704_110_400_000_000
END = Row(10**7, 400 * DAY, 9, 9)
"""Long after all others: nothing else waits any more."""
TOPICS = (TRANSACTIONS, LABELS)
hosts = st.lists(st.integers(0, 5), min_size=1, max_size=4)
"""Where each part of a stream is scored: in one process, which is 0, or in so many lanes."""


def published(cluster: Cluster, rows: Sequence[Row]) -> None:
    """Publish rows, to the partitions of their topics in turn."""
    for place, row in enumerate(rows):
        cluster.clock.sleep(0.001)
        if row.fraud is None:
            paid: dict[str, Any] = {"id": row.ident, "time": row.time, "amount": row.amount / 100}
            paid |= {"customer": row.customer, "terminal": row.terminal}
            partition = place % len(cluster.topics[TRANSACTIONS])
            cluster.append(TRANSACTIONS, orjson.dumps(paid), partition=partition)
        else:
            label = {"id": row.ident, "time": row.time, "fraud": row.fraud}
            cluster.append(LABELS, orjson.dumps(label))


def records(cluster: Cluster, topic: str) -> list[bytes]:
    return [each.value or b"" for each in cluster.read(topic)]


def drained(job: ScoreJob | LearnJob) -> None:
    idle = 0
    while idle < 3:
        idle = 0 if job.step(0.0) else idle + 1


class Journey:
    """One stream, on its way through engines that all read the same topics."""

    def __init__(self, folder: Path) -> None:
        self.cluster, self.folder = Cluster(clock=Clock(NOON)), folder
        self.said: list[bytes] = []
        self.outcomes: list[Outcomes] = []
        self.counts: Counter[str] = Counter()
        self.stay = 0
        self.state: Portable | None = None

    def go_on(self, host: int) -> None:
        """Process what is there, and be ready to go on elsewhere."""
        self.stay += 1
        if host:
            self.in_lanes(host)
        else:
            self.in_one_process()
        assert self.state is not None
        self.counts = Counter(self.state.about.counts)

    def in_one_process(self) -> None:
        settings = Settings(state=self.folder / f"{self.stay}", order="strict")
        if self.state:
            arrive(self.state, settings, PIPELINE)
        there = len(records(self.cluster, PREDICTIONS)), len(records(self.cluster, OUTCOMES))
        job = ScoreJob(PIPELINE, MemoryBroker(self.cluster), settings, threads=False)
        drained(job)
        job.close()
        self.said += records(self.cluster, PREDICTIONS)[there[0] :]
        told = records(self.cluster, OUTCOMES)[there[1] :]
        self.outcomes += [msgspec.json.decode(each, type=Outcomes) for each in told]
        self.state = leave(settings.state / "score", PIPELINE)

    def in_lanes(self, lanes: int) -> None:
        broker, given = MemoryBroker(self.cluster), Settings(order="strict")
        engine = Engine(lanes, self.folder)
        if self.state:
            share = Share(self.state, PIPELINE, lanes)
            for lane in range(lanes):
                for name, store in share.lane(lane).items():
                    assert isinstance(store, MemoryStore)
                    engine.stores[name, lane] = store
        readers = {}
        for lane in range(lanes):
            inputs, kept = inputs_of(broker, given, lane, lanes), engine.store(READER, lane)
            if inputs:
                readers[lane] = Reader(
                    PIPELINE, broker, given, inputs, lanes, 1, kept.get(b"")
                )  # fmt: skip
        engine.newest = max(each.newest_us for each in readers.values())
        engine.advance(engine.newest - duration_us(PIPELINE.lateness))
        for lane, reader in readers.items():
            while (taken := reader.take(0.0))[2]:
                if taken[0] is not None:
                    engine.arrive(taken[0])
            engine.store(READER, lane).put_all({b"": reader.state()})
            reader.close()
        engine.indexes.close()
        for value in engine.said:
            self.cluster.append(PREDICTIONS, value, key=b"c")
        for outcomes in engine.outcomes:
            self.cluster.append(OUTCOMES, msgspec.json.encode(outcomes))
        self.said += engine.said
        self.outcomes += engine.outcomes
        stores = [
            {name: engine.store(name, lane) for name in names_of(PIPELINE)}
            for lane in range(lanes)
        ]  # fmt: skip
        self.state = gather(stores, PIPELINE, "strict", TOPICS)
        self.state.about.topics = dict(broker.topic_ids(list(TOPICS)))


def disordered(rows: list[Row], delays: list[int], chance: Random) -> list[Row]:
    """Transactions and labels a little out of order, some twice, and the end."""
    rows = with_labels(rows, delays)
    rows += [row for row in rows if chance.random() < 0.1]
    return [*sorted(rows, key=lambda row: row.time + chance.randrange(11 * HOUR)), END]


@settings(max_examples=settings().max_examples // 2)
@given(transactions(), delays, hosts, st.randoms(use_true_random=False))
def test_whatever_engines_a_stream_goes_through_it_is_scored_and_learnt_from_as_if_it_had_stayed(
    rows: list[Row], late: list[int], ways: list[int], chance: Random
) -> None:
    stream = disordered(rows, late, chance)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        stayed, moved = Journey(Path(one)), Journey(Path(other))
        published(stayed.cluster, stream)
        stayed.go_on(0)
        edges = sorted(chance.randrange(len(stream) + 1) for _ in ways[1:])
        for host, start, stop in zip(ways, [0, *edges], [*edges, len(stream)], strict=True):
            published(moved.cluster, stream[start:stop])
            moved.go_on(host)
        assert by_id(moved.said) == by_id(stayed.said)
        numbers = by_number(moved.said)
        assert len(numbers) == len(moved.said) == len(rows)
        for name in ("matured", "expired", "waiting_expired", "late"):
            # These are counted when a row comes by, which in a lane are fewer.
            del stayed.counts[name], moved.counts[name]
        assert moved.counts == stayed.counts
        by_label = [each for each in told(moved.outcomes, numbers) if each[3] != 1]
        there = [each for each in told(stayed.outcomes, by_number(stayed.said)) if each[3] != 1]
        assert Counter(by_label) == Counter(there)
        learn_once(moved.said, moved.outcomes, moved.folder, chance)


def test_a_learn_job_goes_on_through_every_move_and_a_new_one_finds_its_way(tmp_path: Path) -> None:
    journey, chance = Journey(tmp_path / "scoring"), Random(2)
    rows = [Row(n, 200 * DAY + n * HOUR, n % 7, n % 5, 100 * n) for n in range(1500)]
    stream = disordered(rows, [n % 90 for n in range(1500)], chance)
    ways, learnt = [0, 3, 0, 1, 4, 0], []
    for place, host in enumerate(ways):
        published(journey.cluster, stream[place * 300 : (place + 1) * 300])
        journey.go_on(host)
        learnt.append(learn_from(journey.cluster, tmp_path / "along"))
    assert learnt == sorted(set(learnt)) and learnt[0] > 0
    assert learnt[-1] == sum(len(each.numbers) for each in journey.outcomes)
    del journey.cluster.topics[MODELS][:]
    journey.cluster.topics[MODELS].append(Log())
    assert learn_from(journey.cluster, tmp_path / "anew") == learnt[-1]


def learn_from(cluster: Cluster, folder: Path) -> int:
    """Examples learnt by a learn job that goes on in a folder, once it has read all there is."""
    job = LearnJob(PIPELINE, MemoryBroker(cluster), Settings(state=folder), now_us=cluster.clock)
    drained(job)
    job.close()
    return job.learnt


@pytest.fixture
def journey(tmp_path: Path) -> Journey:
    """Some of a stream of three partitions, scored in one process."""
    journey = Journey(tmp_path)
    journey.cluster.topics[TRANSACTIONS] += [Log(), Log()]
    rows = [Row(n, 200 * DAY + n * HOUR, n % 3, n % 2, 100 * n) for n in range(40)]
    published(journey.cluster, with_labels(rows, [30] * 20))
    journey.go_on(0)
    return journey


def test_a_state_is_read_from_its_folder_as_it_was_written(
    journey: Journey, tmp_path: Path
) -> None:
    state, folder = journey.state, tmp_path / "moving"
    assert state is not None and state.held is not None
    state.save(folder, PIPELINE.definition)
    again = Portable.load(folder, PIPELINE.definition)
    assert again.about == state.about
    for name in ("ids", "numbers", "labels", "waiting"):
        assert np.array_equal(getattr(again, name), getattr(state, name))
    assert {key: each.tolist() for key, each in again.records.items()} == {
        key: each.tolist() for key, each in state.records.items()
    }
    assert again.held is not None and again.held.offset.tolist() == state.held.offset.tolist()
    with pytest.raises(StateError, match="is there already"):
        state.save(folder, PIPELINE.definition)


def test_a_damaged_foreign_or_unfinished_export_is_refused(
    journey: Journey, tmp_path: Path
) -> None:
    folder = tmp_path / "moving"
    assert journey.state is not None
    journey.state.save(folder, PIPELINE.definition)
    with pytest.raises(StateError, match="wanted the state of pipeline another"):
        Portable.load(folder, "another")
    (arrays,) = folder.glob("*.arrays")
    raw = bytearray(arrays.read_bytes())
    raw[len(raw) // 2] ^= 1
    arrays.write_bytes(raw)
    with pytest.raises(StateError, match=r"checksum .* export it again"):
        Portable.load(folder, PIPELINE.definition)
    with pytest.raises(StateError, match="found nothing of the kind"):
        Portable.load(tmp_path / "nowhere", PIPELINE.definition)
    (tmp_path / "begun.part").mkdir()
    with pytest.raises(StateError, match="did not come to its end"):
        Portable.load(tmp_path / "begun", PIPELINE.definition)


def test_a_state_does_not_take_the_place_of_another_nor_go_on_in_another_order(
    journey: Journey, tmp_path: Path
) -> None:
    state = journey.state
    assert state is not None
    with pytest.raises(ConfigError, match="give --order strict"):
        arrive(state, Settings(state=tmp_path / "there"), PIPELINE)
    for place in ("there", "1"):
        settings = Settings(state=tmp_path / place, order="strict")
        if place == "1":
            with pytest.raises(StateError, match="found state"):
                arrive(state, settings, PIPELINE)
        else:
            arrive(state, settings, PIPELINE)


def test_the_state_of_a_job_that_was_killed_waits_for_it_to_end_well(
    journey: Journey, tmp_path: Path
) -> None:
    settings = Settings(state=tmp_path / "1", order="strict")
    job = ScoreJob(PIPELINE, MemoryBroker(journey.cluster), settings, threads=False)
    published(journey.cluster, [END])
    drained(job)
    with pytest.raises(StateError, match="stop that process"):
        leave(tmp_path / "1" / "score", PIPELINE)
    job.release()
    with pytest.raises(StateError, match=r"killed .* start it again"):
        leave(tmp_path / "1" / "score", PIPELINE)
    with pytest.raises(StateError, match="wanted the state of a score job, found none"):
        leave(tmp_path / "2" / "score", PIPELINE)


def test_what_was_taken_from_files_is_left_out_in_lanes_too(
    journey: Journey, tmp_path: Path
) -> None:
    assert journey.state is not None
    journey.state.about.from_us = 300 * DAY
    published(journey.cluster, [Row(100, 250 * DAY), Row(101, 310 * DAY), END])
    journey.go_on(2)
    assert "100" not in by_id(journey.said) and "101" in by_id(journey.said)
    assert journey.state.about.from_us == 300 * DAY


def test_for_flink_a_state_is_shared_out_and_its_version_published_once(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, folder, state = journey.cluster, tmp_path / "moving", journey.state
    assert state is not None
    version = PIPELINE.champion.bind(PIPELINE.plan().names).version()
    about = Manifest(sequence=7, name="champion", pipeline=PIPELINE.definition, examples=3)
    state.about.version, weights = Seal(None).close(about, version)
    replace(state, weights=weights).save(folder, PIPELINE.definition)
    monkeypatch.setattr(Settings, "broker", lambda _: MemoryBroker(cluster))
    there, again = (share_out(folder, Settings(order="strict"), PIPELINE, 3) for _ in range(2))
    assert there == again
    assert [each.key for each in cluster.read(MODELS)] == [b"7/0", b"7/manifest"]
    stores = [{name: MemoryStore() for name in names_of(PIPELINE)} for _ in range(3)]
    for lane, names in enumerate(stores):
        for name, store in names.items():
            store.put_all(dict(read_entries(file_of(there, name, lane))))
    back = gather(stores, PIPELINE, "strict", TOPICS)
    back.about.topics, back.about.version = state.about.topics, state.about.version
    assert back.about == state.about
    assert back.ids.tolist() == state.ids.tolist()
    assert back.numbers.tolist() == state.numbers.tolist()
    assert back.held is not None and state.held is not None
    assert back.held.idents.tolist() == state.held.idents.tolist()
    assert set(back.held.partition.tolist()) == {0, 1, 2, 3}
    assert back.held.partition.tolist() == state.held.partition.tolist()
    with pytest.raises(StateError, match="give --order strict"):
        gather(stores, PIPELINE, "arrival", TOPICS)
    cluster.ids = dict.fromkeys(cluster.ids, "made anew")
    with pytest.raises(StateError, match="it was made anew"):
        share_out(folder, Settings(order="strict"), PIPELINE, 3)


def test_entries_of_a_lane_that_are_damaged_or_gone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "index-00000.entries"
    with pytest.raises(StateError, match="can every machine of the cluster read this folder"):
        list(read_entries(path))
    write_entries(path, [(b"key", b"value")])
    raw = bytearray(path.read_bytes())
    raw[-14] ^= 1
    path.write_bytes(raw)
    with pytest.raises(StateError, match="differs from its checksum"):
        list(read_entries(path))
