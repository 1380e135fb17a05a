"""Versions that come by topic: which are put to use, and which are refused meanwhile."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import orjson
import pytest

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.fraud import pipeline
from jobs.kafka_host.model_feed import MANIFEST
from jobs.kafka_host.score_job import ScoreJob
from jobs.setting import Secret
from models.base import Version
from models.linear import Linear
from models.manifest import Manifest, Seal
from operators.plan import compile_plan
from streams.broker import Input
from streams.memory.broker import MemoryBroker
from streams.memory.cluster import Clock, Cluster
from streams.topics import DEAD_LETTERS, MODELS, PREDICTIONS, TOPICS, TRANSACTIONS

NOON = 1_704_110_400_000_000
NAMES = compile_plan(pipeline.event, pipeline.features, lateness_us=0, cap=pipeline.cap).names


class World:
    """A cluster, a score job that reads from it, and somebody who publishes."""

    def __init__(self, folder: Path, key: str = "") -> None:
        topics = {topic.name: topic.partitions for topic in TOPICS.values()}
        self.cluster = Cluster(topics, clock=Clock(NOON))
        self.producer = MemoryBroker(self.cluster).producer()
        settings = Settings(state=folder, signing_key=Secret(key) if key else None)
        self.job = ScoreJob(pipeline, MemoryBroker(self.cluster), settings, threads=False)
        self.paid = 0

    def publish(self, topic: str, key: str, value: bytes | None) -> None:
        self.producer.send(topic, [value], [key.encode()])
        self.producer.flush(1.0)

    def version(self, sequence: int, weights: bytes, manifest: Manifest) -> None:
        half = len(weights) // 2
        for place, chunk in enumerate((weights[:half], weights[half:])):
            self.publish(MODELS, f"{sequence}/{place}", chunk)
        self.publish(MODELS, f"{sequence}/{MANIFEST}", msgspec.json.encode(manifest))

    def scored_by(self) -> int:
        """The version that scores a transaction which comes now."""
        self.paid += 1
        paid = {"id": self.paid, "time": NOON, "customer": 1, "terminal": 1, "amount": 9.5}
        self.publish(TRANSACTIONS, "", orjson.dumps(paid))
        for _ in range(8):
            self.job.step(0.0)
        self.job.snapshot()
        return int(orjson.loads(self.read(PREDICTIONS)[-1])["model_version"])

    def refused(self) -> list[str]:
        letters = [orjson.loads(letter) for letter in self.read(DEAD_LETTERS)]
        assert all(each["reason"] == "bad model version" for each in letters)
        return [each["detail"] for each in letters]

    def read(self, topic: str) -> list[bytes]:
        consumer = MemoryBroker(self.cluster).consumer([Input(topic, 0)])
        consumer.seek([0])
        return [value or b"" for run in consumer.poll(1000, 0.0) for value in run.values]


def learnt(of: Pipeline = pipeline) -> Version:
    """A version that has learnt something."""
    learner = of.champion.bind(NAMES)
    x = np.random.default_rng(5).lognormal(size=(200, len(NAMES)))
    y = (x[:, 0] > 1).astype(np.int8)
    learner.learn_many(np.ascontiguousarray(x), y, np.ones(len(y)))
    return learner.version()


def sealed(sequence: int, key: bytes | None = None, **about: str) -> tuple[bytes, Manifest]:
    said = {"name": "champion", "pipeline": pipeline.definition} | about
    manifest, weights = Seal(key).close(
        Manifest(sequence=sequence, examples=200, **said),  # type: ignore[arg-type]
        learnt(),
    )
    return weights, manifest


def test_the_newest_version_scores_from_the_next_batch_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.scored_by() == 0
    world.version(1, *sealed(1))
    assert world.scored_by() == 1
    world.version(3, *sealed(3))
    world.version(2, *sealed(2))
    assert world.scored_by() == 3
    assert world.refused() == []


def test_a_damaged_version_is_refused_and_the_old_one_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.version(1, *sealed(1))
    weights, manifest = sealed(2)
    world.version(2, weights[:-1] + bytes([weights[-1] ^ 1]), manifest)
    assert world.scored_by() == 1
    assert "models/0/5: not the weights of its manifest" in world.refused()[0]
    assert world.job.monitor.model.refused == 1
    world.version(3, *sealed(3))
    assert world.scored_by() == 3


def test_a_version_that_lacks_a_chunk_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    weights, manifest = sealed(1)
    world.publish(MODELS, "1/0", weights[: len(weights) // 2])
    world.publish(MODELS, f"1/{MANIFEST}", msgspec.json.encode(manifest))
    assert world.scored_by() == 0
    assert "cannot be read" in world.refused()[0]


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    weights, manifest = sealed(1)
    world.version(1, weights, msgspec.structs.replace(manifest, examples=7))
    assert world.scored_by() == 0
    assert "differs from its checksum" in world.refused()[0]


def test_a_foreign_version_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.version(1, *sealed(1, pipeline="f" * 32))
    assert world.scored_by() == 0
    assert f"of pipeline {'f' * 32}, wanted {pipeline.definition}" in world.refused()[0]


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.version(2, *sealed(1))
    assert world.scored_by() == 0
    assert "is the manifest of version 1, misplaced" in world.refused()[0]


@pytest.mark.parametrize(
    ("key", "said"), [(None, "not signed"), (b"theirs", "signed by another key")]
)
def test_an_unsigned_or_wrongly_signed_version_is_refused_where_a_key_is_set(
    tmp_path: Path, key: bytes | None, said: str
) -> None:
    world = World(tmp_path, key="ours")
    world.version(1, *sealed(1, key))
    assert world.scored_by() == 0
    assert said in world.refused()[0]
    world.version(2, *sealed(2, b"ours"))
    assert world.scored_by() == 2


def test_what_is_no_version_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.publish(MODELS, "latest", b"{}")
    assert world.scored_by() == 0
    assert "wanted a key version/chunk or version/manifest, got 'latest'" in world.refused()[0]


def test_a_version_whose_weights_were_dropped_is_passed_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.version(2, *sealed(2))
    world.publish(MODELS, f"1/{MANIFEST}", msgspec.json.encode(sealed(1)[1]))
    assert world.scored_by() == 2
    assert world.refused() == []


def test_a_job_that_starts_again_keeps_its_version_and_refuses_others_in_the_same_words(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.version(1, *sealed(1))
    world.publish(MODELS, "latest", b"{}")
    assert world.scored_by() == 1
    world.job.close()
    again = Settings(state=tmp_path)
    world.job = ScoreJob(pipeline, MemoryBroker(world.cluster), again, threads=False)
    assert world.scored_by() == 1
    assert len(set(world.refused())) == 1


def test_a_model_of_another_kind_scores_as_well(tmp_path: Path) -> None:
    world = World(tmp_path)
    other = Linear(inputs=dict(pipeline.challengers["published inputs"].inputs))  # type: ignore[attr-defined]
    manifest, weights = Seal().close(
        Manifest(sequence=1, name="champion", pipeline=pipeline.definition, examples=0),
        other.bind(NAMES).version(),
    )
    world.version(1, weights, manifest)
    assert world.scored_by() == 1
