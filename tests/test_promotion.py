"""Operators decide which version scores: in a run of one process, and by topic."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from safetensors import safe_open
from safetensors.numpy import load_file

from jobs.commands import headrace
from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.kafka_host.learn_job import LearnJob
from jobs.kafka_host.model_feed import DECISION
from jobs.kafka_host.score_job import ScoreJob
from jobs.local import LocalRun
from jobs.promotion.places import FolderPlace, TopicPlace
from jobs.setting import Secret
from jobs.settings import Inputs
from jobs.simulate import simulate
from jobs.why import why
from models.base import Version
from models.decisions import CHAMPION
from models.linear import Linear
from streams.errors import ConfigError, StateError
from streams.memory import Clock, Cluster, MemoryBroker
from streams.schema import DAY
from streams.topics import DEAD_LETTERS, LABELS, MODELS, PREDICTIONS, TRANSACTIONS
from tests.batches import HOUR, PIPELINE

WORLD = {"customers": 150, "terminals": 60, "per_day": 250, "fraud_rate": 0.05, "events": 8000}
OTHER = "published inputs"
NOON = 1_704_110_400_000_000
TWO = replace(PIPELINE, challengers={"plain": Linear(bits=6)})
SAID: dict[str, Any] = {"by": "ann", "reason": "", "at_us": 0}


def call(*arguments: object) -> Result:
    return CliRunner().invoke(headrace, [str(each) for each in arguments])


@pytest.fixture
def replayed(tmp_path: Path) -> Path:
    """A replay of 8,000 events in batches of 500, once through."""
    path, out = tmp_path / "traffic.ndjson", tmp_path / "out"
    simulate(path, [], WORLD)
    assert call("replay", path, "--out", out, "--batch-size", 500).exit_code == 0
    return out


def begun(out: Path, *, resume: bool = False) -> LocalRun:
    inputs = Inputs.load(out)
    pipeline = inputs.load_pipeline()
    state = Path(inputs.state)
    source = inputs.source(pipeline)
    return LocalRun(pipeline, source, out, state=state, resume=resume, snapshot_seconds=0)


def moved(out: Path, to: Path) -> Path:
    """A copy of a run, as a kill at this moment would leave it."""
    shutil.copytree(out, to)
    asked = orjson.loads((to / "run.json").read_bytes())
    (to / "run.json").write_bytes(orjson.dumps(asked | {"state": str(to / "state")}))
    return to


def test_a_replay_scores_by_what_is_decided_meanwhile_and_so_does_one_that_was_killed(
    replayed: Path, tmp_path: Path
) -> None:
    run = begun(replayed)
    steps = iter(run)
    by_number: dict[int, Version] = {}
    place = FolderPlace(replayed / "state" / "models", run.pipeline)
    copy, ends = None, [0]
    for step in steps:
        ends.append(ends[-1] + len(step.scored))
        by_number |= step.scored.champions
        done = run.sequence
        older = [each.title for each in place.read().own if each.major == 2 and each.minor]
        decided = {6: ("promote", OTHER), 10: ("rollback", *older[:1]), 13: ("promote", CHAMPION)}
        if done in decided:
            said = call("models", *decided[done], "--run", replayed, "--by", "ann")
            assert said.exit_code == 0, said.output
        if done == 12:
            copy = moved(replayed, tmp_path / "copy")
        for number in set(step.scored.version.tolist()):
            mine = step.scored.version == number
            scores = by_number[number].predict_many(step.scored.features[mine])
            assert scores.tobytes() == step.scored.scores[mine, 0].tobytes()
        models = set((step.scored.version % 2).tolist())
        assert models == ({1} if 6 < done <= 13 else {0})
    run.finish()
    table = pq.read_table(replayed / "predictions.parquet")
    version = table["model_version"].to_numpy()
    (held,) = set(version[ends[10] : ends[13]].tolist())
    assert held % 2 == 1 and held < version[ends[10] - 1] < version[-1]
    assert copy
    again = begun(copy, resume=True)
    for _ in again:
        pass
    call("models", "promote", CHAMPION, "--run", copy)
    again.finish()
    rest = pq.read_table(copy / "predictions.parquet")
    both = (repr(each.slice(0, ends[12]).to_pylist()) for each in (rest, table))
    assert next(both) == next(both)
    assert set(rest["model_version"].to_numpy()[ends[10] : ends[13]].tolist()) == {held}
    for row in (0, ends[6], ends[10], ends[13] + 5):
        assert not why(replayed, table["id"][row].as_py()).differences


def test_what_cannot_be_decided_is_said_in_a_line(replayed: Path) -> None:
    for asked, said in [
        (("promote", "nobody"), "wanted a version, by number or name as in 3.17, or a model"),
        (("promote", "amount"), "is a baseline, which is only measured"),
        (("promote", CHAMPION), "champion: scores already"),
        (("rollback", "99999"), "wanted a version"),
        (("show", "9.9"), "wanted a version"),
    ]:
        done = call("models", *asked, "--run", replayed)
        assert done.exit_code == 1
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_versions_are_listed_shown_and_compared(replayed: Path) -> None:
    listed = orjson.loads(call("models", "list", "--json", "--run", replayed).stdout)
    one, two = listed["versions"][-2:]
    assert listed["scores"] == one["sequence"] == two["sequence"] - 1
    assert (one["name"], two["name"]) == (CHAMPION, OTHER)
    table = call("models", "list", "--run", replayed).stdout
    assert one["title"] in table and "nothing was decided" in table
    shown = call("models", "show", OTHER, "--run", replayed).stdout
    for said in (two["title"], two["content"], "parameters.bits", "positions.events", "kept"):
        assert said in shown
    compared = call("models", "diff", OTHER, "--run", replayed).stdout
    for said in ("parameters.alpha", "metrics.auc", "tensor weights"):
        assert said in compared
    same = call("models", "diff", two["title"], str(two["sequence"]), "--run", replayed).stdout
    assert "parameters" not in same and "tensor" not in same


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(clock=Clock(NOON))


class World:
    """Both jobs over a cluster in memory, and operators."""

    def __init__(self, cluster: Cluster, folder: Path, pipeline: Pipeline = TWO) -> None:
        self.cluster, self.pipeline, self.paid = cluster, pipeline, 0
        self.settings = Settings(state=folder, snapshot_seconds=3600)
        self.begin()

    def begin(self) -> None:
        self.score = ScoreJob(
            self.pipeline, MemoryBroker(self.cluster), self.settings,
            clock=self.seconds, now_us=self.cluster.clock, threads=False,
        )  # fmt: skip
        self.learn = LearnJob(
            self.pipeline, MemoryBroker(self.cluster), self.settings,
            clock=self.seconds, now_us=self.cluster.clock,
        )  # fmt: skip

    def seconds(self) -> float:
        return self.cluster.clock() / 1e6

    def pay(self, count: int) -> list[int]:
        """So many payments, a fifth of them fraud; the versions that scored them, in order."""
        before = len(self.cluster.read(PREDICTIONS))
        for n in range(self.paid, self.paid + count):
            time = NOON - 900 * DAY + n * HOUR
            paid = {
                "id": n,
                "time": time,
                "customer": n % 7,
                "terminal": n % 3,
                "amount": 5 + n % 9,
            }
            self.cluster.append(TRANSACTIONS, orjson.dumps(paid))
            if n % 5 == 0:
                label = {"id": n, "time": time + DAY, "fraud": True}
                self.cluster.append(LABELS, orjson.dumps(label))
        self.paid += count
        self.drain()
        said = [orjson.loads(each.value or b"") for each in self.cluster.read(PREDICTIONS)[before:]]
        return [each["model_version"] for each in said]

    def drain(self) -> None:
        idle = 0
        while idle < 3:
            done = [job.step(0.0) for job in (self.score, self.learn)]
            idle = 0 if any(done) else idle + 1
            self.cluster.clock.sleep(1.0)

    @property
    def place(self) -> TopicPlace:
        return TopicPlace(MemoryBroker(self.cluster), self.settings, self.pipeline)

    def promote(self, model: str) -> None:
        self.place.decide(self.place.read().promote(model, **SAID))

    def rollback(self, version: str | None = None) -> int:
        return self.place.decide(self.place.read().rollback(version, **SAID)).sequence

    def close(self) -> None:
        self.score.close()
        self.learn.close()


@pytest.fixture
def world(cluster: Cluster, tmp_path: Path) -> Iterator[World]:
    made = World(cluster, tmp_path)
    yield made
    made.close()


def test_what_is_promoted_scores_with_each_newer_version_and_what_is_gone_back_to_stays(
    world: World,
) -> None:
    world.pay(200)
    assert {each % 2 for each in world.pay(50)} == {0}
    world.promote("plain")
    seen = [each for _ in range(4) for each in world.pay(50)]
    assert {each % 2 for each in seen} == {1}
    assert sorted(set(seen)) == list(dict.fromkeys(seen))
    assert len(set(seen)) > 2
    back = world.rollback()
    assert back % 2 == 0 and back < max(seen)
    assert {each for _ in range(3) for each in world.pay(50)} == {back}
    world.promote(CHAMPION)
    (newest,) = set(world.pay(1))
    assert newest % 2 == 0 and newest > max(seen)


def test_decisions_are_kept_over_restarts_of_every_job(world: World) -> None:
    world.pay(300)
    world.promote("plain")
    world.pay(50)
    back = world.rollback()
    assert set(world.pay(20)) == {back}
    for _ in range(2):
        world.close()
        world.begin()
        assert set(world.pay(20)) == {back}
    world.close()
    there = len(world.cluster.read(PREDICTIONS))
    world.settings = replace(world.settings, state=world.settings.state / "new", group="new")
    world.begin()  # a score job that knows nothing scores all anew
    world.drain()
    anew = [orjson.loads(each.value or b"") for each in world.cluster.read(PREDICTIONS)[there:]]
    assert {each["model_version"] for each in anew} == {back}


def test_of_two_who_decide_at_once_one_does(world: World) -> None:
    world.pay(200)
    both = [world.place.read().promote("plain", **SAID | {"by": by}) for by in ("ann", "ben")]
    assert [world.place.decide(each).by for each in both] == ["ann", "ann"]
    assert {each % 2 for each in world.pay(5)} == {1}
    assert [each.by for each in world.place.read().decisions.log] == ["ann"]


def test_a_decision_that_our_key_did_not_sign_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    world = World.__new__(World)
    world.cluster, world.pipeline, world.paid = cluster, TWO, 0
    key = Secret("ours")
    world.settings = Settings(state=tmp_path, signing_key=key, snapshot_seconds=3600)
    world.begin()
    world.pay(200)
    decision = world.place.read().promote("plain", **SAID)
    cluster.append(MODELS, msgspec.json.encode(decision), f"{DECISION}/forged".encode())
    assert {each % 2 for each in world.pay(20)} == {0}
    letters = [orjson.loads(each.value or b"") for each in cluster.read(DEAD_LETTERS)]
    assert [each["reason"] for each in letters] == ["bad model version"]
    assert "differs from its checksum" in letters[0]["detail"]
    world.promote("plain")
    assert {each % 2 for each in world.pay(20)} == {1}
    world.close()


def test_versions_of_another_pipeline_are_neither_promoted_nor_numbered_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    first = World(cluster, tmp_path / "first")
    first.pay(200)
    first.close()
    used = set(first.place.read().versions)
    pipeline = replace(TWO, every=2)
    settings = Settings(state=tmp_path / "second", group="second")
    with pytest.raises(StateError, match="name its file with --pipeline"):
        TopicPlace(MemoryBroker(cluster), settings, pipeline).read().promote("plain", **SAID)
    second = LearnJob(pipeline, MemoryBroker(cluster), settings, now_us=cluster.clock)
    while second.step(0.0):
        pass
    second.close()
    there = TopicPlace(MemoryBroker(cluster), settings, pipeline).read()
    assert min(each.sequence for each in there.own) > max(used)
    with pytest.raises(StateError, match="was made for pipeline"):
        there.rollback(str(max(used)), **SAID)


def test_a_version_tells_where_it_comes_from(world: World) -> None:
    world.pay(200)
    world.pay(100)
    there = world.place.read()
    mine = [each for each in there.own if each.name == "plain"]
    newest, before = mine[-1], mine[-2]
    assert newest.title == f"2.{newest.minor}.{TWO.definition[:8]}"
    assert newest.minor > before.minor
    assert newest.parent == before.sequence
    assert newest.examples > before.examples
    assert newest.since_us == NOON - 900 * DAY
    assert newest.until_us is not None and before.until_us is not None
    assert newest.until_us > before.until_us
    assert newest.positions["outcomes"] > before.positions["outcomes"]
    assert newest.parameters["bits"] == "6"
    assert newest.metrics["examples"]
    assert len(newest.code) == 16
    with pytest.raises(ConfigError, match="wanted a version"):
        there.find("2.999")
    assert there.find(newest.title) == there.find(f"2.{newest.minor}") == newest


def test_a_challenger_is_judged_by_all_traffic_whoever_scores(world: World) -> None:
    """Its column in the learner's log is what its versions say of every prediction."""
    world.pay(200)
    world.promote("plain")
    world.pay(200)
    learning = world.learn.learning
    width, names = len(learning.names), learning.lineup.names
    said = [orjson.loads(each.value or b"") for each in world.cluster.read(PREDICTIONS)]
    logged = learning.log.view[[each["number"] for each in said], width:]
    for place, name in enumerate(names):
        assert (logged[:, place] > 0).all(), name
    for row, each in zip(logged, said, strict=True):
        assert row[each["model_version"] % 2] == each["score"]
    served = np.array([each["model_version"] % 2 for each in said])
    assert 0 < served.sum() < len(served)
    assert (logged[served == 1, 0] != logged[served == 1, 1]).any()


def test_a_version_is_exported_for_other_programs(replayed: Path, tmp_path: Path) -> None:
    file = tmp_path / "champion.safetensors"
    done = call("models", "export", "champion", file, "--run", replayed)
    assert done.exit_code == 0, done.output
    place = FolderPlace(replayed / "state" / "models", Inputs.load(replayed).load_pipeline())
    newest = place.read().find("champion")
    tensors = load_file(file)
    kept = place.load(newest.sequence).tensors()
    assert {n: t.tobytes() for n, t in tensors.items()} == {n: t.tobytes() for n, t in kept.items()}
    with safe_open(file, "numpy") as opened:
        metadata = {name: orjson.loads(value) for name, value in opened.metadata().items()}
    assert metadata["sequence"] == newest.sequence
    assert tuple(metadata["names"]) == newest.names
    for name, wanted in (("model.onnx", "a version of Neural"), ("model.bin", "ends in .onnx or")):
        refused = call("models", "export", "champion", tmp_path / name, "--run", replayed)
        assert refused.exit_code == 1
        assert wanted in refused.output
        assert not (tmp_path / name).exists()
