"""The learner of an engine makes what the learn job makes, whatever of it is lost on the way."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.config import Settings
from jobs.kafka_host.learn_job import LearnJob
from jobs.lanes.learner import Learner
from jobs.lanes.store import MemoryStore
from models.manifest import Manifest
from streams.errors import StateError
from streams.memory import Clock, Cluster, Crash, MemoryBroker
from streams.schema import DAY
from streams.topics import DRIFT, EXAMPLES, MODELS, OUTCOMES, PREDICTIONS
from tests.batches import PIPELINE, Row, pieces, with_labels
from tests.lanes_engine import Engine
from tests.learnt_once import known
from tests.test_lanes import lanes

Examples = list[tuple[bytes | None, bytes | None]]


class Host:
    """What an engine does with a learner: it keeps a store, takes checkpoints, and may end."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.settings = Settings(state=folder, snapshot_seconds=0.7)
        self.store, self.examples, self.alarms = MemoryStore(), Examples(), Examples()
        self.saved: tuple[dict[bytes, bytes], int, int] = {}, 0, 0
        self.lives = 0
        self.begin()

    def begin(self) -> None:
        self.lives += 1
        self.broker = MemoryBroker(self.cluster)
        self.learner = Learner(
            PIPELINE, self.broker, self.settings, "engine", self.store,
            self.folder / str(self.lives), clock=lambda: self.cluster.clock() / 1e6,
        )  # fmt: skip

    def turn(self) -> None:
        made = self.learner.turn()
        self.examples += made.examples
        self.alarms += made.drift
        self.cluster.clock.sleep(0.3)

    def checkpoint(self) -> None:
        self.saved = dict(self.store.entries), len(self.examples), len(self.alarms)

    def crash(self) -> None:
        """Lose what was not in the last checkpoint, and begin again from that."""
        self.broker.crash()
        with suppress(Crash):
            self.learner.close()
        entries, examples, alarms = self.saved
        self.store.entries = dict(entries)
        del self.examples[examples:], self.alarms[alarms:]
        self.begin()

    def drain(self) -> None:
        while self.learner.behind:
            self.turn()
        self.turn()
        self.learner.close()


def publish(cluster: Cluster, engine: Engine) -> None:
    for each in engine.said:
        cluster.append(PREDICTIONS, each, b"card")
    for told in engine.outcomes:
        cluster.append(OUTCOMES, msgspec.json.encode(told))


def contents(cluster: Cluster) -> dict[int, set[str]]:
    """Under which number what content was published."""
    found: dict[int, set[str]] = {}
    for record in cluster.read(MODELS):
        if record.value and (record.key or b"").endswith(b"/manifest"):
            manifest = msgspec.json.decode(record.value, type=Manifest)
            found.setdefault(manifest.sequence, set()).add(manifest.content)
    return found


def of_the_learn_job(
    engine: Engine, folder: Path
) -> tuple[tuple[Examples, Examples], dict[int, set[str]], dict[str, bytes]]:
    """Its examples and alarms, its versions, and what it knows in the end."""
    cluster = Cluster(clock=Clock())
    publish(cluster, engine)
    job = LearnJob(PIPELINE, MemoryBroker(cluster), Settings(state=folder), now_us=cluster.clock)
    idle = 0
    while idle < 3:
        idle = 0 if job.step(0.0) else idle + 1
    learnt = known(job.learning)
    job.close()
    examples, alarms = (
        [(record.key, record.value) for record in cluster.read(topic)]
        for topic in (EXAMPLES, DRIFT)
    )
    return (examples, alarms), contents(cluster), learnt


@contextmanager
def engine_of(rows: list[Row], late: list[int], count: int) -> Iterator[tuple[Engine, Path]]:
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(count, Path(folder))
        for batch in pieces(with_labels(rows, late), list(range(0, 800, 2))):
            engine.take(batch)
        engine.advance(2**62)
        yield engine, Path(folder)


@given(st.integers(0, 1 << 32), lanes)
def test_a_learner_that_is_lost_and_goes_on_makes_what_the_learn_job_makes(
    seed: int, count: int
) -> None:
    chance = Random(seed)
    rows = [
        Row(n, n * DAY // 4, chance.randrange(4), chance.randrange(3), chance.randrange(9_999))
        for n in range(chance.randrange(90))
    ]
    late = [chance.choice([0, 0, 1, -1]) * chance.randrange(200) for _ in rows]
    with engine_of(rows, late, count) as (engine, folder):
        cluster = Cluster(clock=Clock())
        here = Host(cluster, folder / "here")
        said = sorted(engine.said, key=lambda _: chance.random())
        waiting = list(engine.outcomes)
        steps = [here.turn, here.turn, here.turn, here.checkpoint, here.crash]
        while said or waiting:
            for _ in range(chance.randrange(4)):
                if said and chance.random() < 0.7:
                    cluster.append(PREDICTIONS, said.pop(), b"card")
                elif waiting:
                    cluster.append(OUTCOMES, msgspec.json.encode(waiting.pop(0)))
            chance.choice(steps)()
        here.drain()
        made, versions, learnt = of_the_learn_job(engine, folder / "there")
        assert (here.examples, here.alarms) == made
        assert known(here.learner.learning) == learnt
        mine = contents(cluster)
        assert max(mine, default=0) == max(versions, default=0)
        both = mine.keys() & versions.keys()
        assert {number: mine[number] for number in both} == {n: versions[n] for n in both}
        assert all(len(each) == 1 for each in mine.values())


def test_the_store_of_a_learner_holds_no_prediction_that_nobody_asks_for(tmp_path: Path) -> None:
    rows = [Row(ident=n, time=n * DAY, customer=n % 3, amount=n) for n in range(200)]
    with engine_of(rows, [], 2) as (engine, _):
        here = Host(Cluster(clock=Clock()), tmp_path)
        entries = []
        told = len(engine.outcomes)
        for place, said in enumerate(engine.said):
            here.cluster.append(PREDICTIONS, said, b"card")
            for each in engine.outcomes[place * told // 200 : (place + 1) * told // 200]:
                here.cluster.append(OUTCOMES, msgspec.json.encode(each))
            for _ in range(3):
                here.turn()
            entries.append(sum(key[:1] == b"e" for key in here.store.entries))
        here.checkpoint()
        here.crash()
        here.drain()
    assert 20 < max(entries[100:]) <= max(entries[50:100]) + 2


def test_a_second_learner_is_refused(tmp_path: Path) -> None:
    cluster = Cluster(clock=Clock())
    with ExitStack() as stack:
        here = Host(cluster, tmp_path)
        stack.callback(here.learner.close)
        with pytest.raises(StateError, match="wanted it alone"):
            LearnJob(PIPELINE, MemoryBroker(cluster), here.settings, now_us=cluster.clock)
