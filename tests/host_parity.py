"""One stream for all hosts, full of what goes wrong, and what is to be the same after it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import numpy as np
import orjson

from jobs.alarms import DRIFT
from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.kafka_host.learn_job import LearnJob
from jobs.load_pipeline import load_pipeline
from jobs.local import LocalRun
from streams.broker import Headers
from streams.sources import FileSource
from tests.deployment import PATIENCE_S, Deployment
from tests.published import published

T = TypeVar("T")
NOON = 1_704_110_400_000_000
MINUTE = 60_000_000
DAY = 1440 * MINUTE
EVENTS = 3000
SPAN = EVENTS * 20 * MINUTE
"""The time they take, however many they are."""
END = 2
"""Events that come long after all others, so that nothing waits any more."""


def stream(
    seed: int, order: str = "strict", count: int = EVENTS
) -> tuple[list[bytes], list[bytes]]:
    """Transactions and labels: out of order, twice, conflicting, garbage; labels days late.

    In arrival order the labels, which are published first, would bring time so far forward that ids
    are forgotten at once: there are only early ones then.
    """
    until = NOON + (13 if order == "arrival" else 100) * DAY
    rng = Random(seed)
    events, labels = [], []
    for n in range(count):
        time = NOON + n * SPAN // count
        event = {
            "id": f"t{n}",
            "time": time,
            "customer": f"c{rng.randrange(60)}",
            "terminal": f"s{rng.randrange(25)}",
            "amount": rng.randrange(1, 30_000) / 100,
        }
        events.append((time + rng.randrange(50 * MINUTE), orjson.dumps(event)))
        if rng.random() < 0.02:
            events.append((time + rng.randrange(50 * MINUTE), orjson.dumps(event)))
        if rng.random() < 0.01:
            other = event | {"amount": 1.0, "time": time + 1}
            events.append((time + rng.randrange(50 * MINUTE), orjson.dumps(other)))
        if rng.random() < 0.01:
            garbage = rng.choice([b"{", b"[]", b'{"id":"x"}', b"\xff", b"null"])
            events.append((time, garbage))
        if rng.random() < 0.2:
            known = time + rng.randrange(-DAY // 4, 9 * DAY)
            label = {"id": f"t{n}", "time": known, "fraud": rng.random() < 0.5}
            if known < until:
                labels.append((known, orjson.dumps(label)))
    last = NOON + SPAN + 30 * DAY
    events.sort(key=lambda each: each[0])
    labels.sort(key=lambda each: each[0])
    for n in range(END):
        event = {"id": f"e{n}", "time": last + n * DAY, "customer": "e", "terminal": "e"}
        events.append((last, orjson.dumps(event | {"amount": 1})))
    return [value for _, value in events], [value for _, value in labels]


def cut(events: list[T], count: int) -> Iterator[list[T]]:
    """The events in so many slices."""
    size = -(-len(events) // count)
    return (events[at : at + size] for at in range(0, len(events), size))


def said(deployment: Deployment) -> dict[str, Any]:
    """What was predicted of each id, without its number."""
    found = {}
    for each in deployment.read("predictions"):
        each.pop("number")
        assert each["id"] not in found
        found[each["id"]] = each
    return found


def traces(events: list[bytes]) -> list[Headers | None]:
    """Headers for every third event."""
    return [
        None if n % 3 else [("trace", b"%d" % n), ("version", b"\x00\xff"), ("empty", b"")]
        for n in range(len(events))
    ]


def headed(deployment: Deployment) -> dict[str, Any]:
    """The headers of each id's prediction that has any; they have no order on Flink."""
    return {
        orjson.loads(value or b"")["id"]: sorted(headers)
        for run in deployment.runs("predictions")
        for value, headers in zip(run.values, run.each_headers(), strict=True)
        if headers
    }


def buried(deployment: Deployment) -> list[Any]:
    """The dead letters, without what no two runs have in common."""
    names = ("reason", "detail", "partition", "offset", "raw")
    letters = deployment.read("dead-letters")
    return sorted(str([each.get(name) for name in names]) for each in letters)


def every_score_is_its_versions(deployment: Deployment, pipeline: Pipeline) -> None:
    """Assert that each score is what the version it names makes of the features it came with."""
    versions = published(deployment)
    prior = pipeline.champion.bind(pipeline.plan().names).version()
    by_version: dict[int, list[Any]] = {}
    for each in deployment.read("predictions"):
        by_version.setdefault(each["model_version"], []).append(each)
    assert max(by_version) > 0
    for sequence, mine in by_version.items():
        version = versions[sequence][1] if sequence else prior
        x = np.array([each["features"] for each in mine], np.float64)
        assert version.predict_many(x).tolist() == [each["score"] for each in mine]


def accounted(deployment: Deployment) -> str:
    """What `headrace ledger` finds in the topics."""
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", "ledger"],
        env=deployment.environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    return done.stdout


def watched(deployment: Deployment) -> list[Any]:
    """The alarms that a learn job raises on what was predicted and became known."""
    env = deployment.environment
    settings = Settings.load(environ=env, flags={"state": str(deployment.folder / "watched")})
    known = sum(len(each["numbers"]) for each in deployment.read("outcomes"))
    pipeline = load_pipeline(str(deployment.folder / "pipeline.py"))
    job = LearnJob(pipeline, deployment.client, settings)
    deadline = time.monotonic() + PATIENCE_S
    while job.learnt < known or job.behind:
        job.step(0.1)
        assert time.monotonic() < deadline, job.said()
    job.close()
    return before_the_end(deployment.read("drift"))


def replayed(events: list[bytes], labels: list[bytes], pipeline: Path, folder: Path) -> list[Any]:
    """The alarms of one process that takes it all from a file, and scores by one version."""
    file = folder / "events.ndjson"
    file.write_bytes(b"\n".join([*labels, *events]))
    one = replace(load_pipeline(str(pipeline)), every=10**9)
    run = LocalRun(one, FileSource([file], one.event, {}, 4096), folder, order="strict")
    for _ in run:
        pass
    run.finish()
    return before_the_end(map(orjson.loads, (folder / DRIFT).read_bytes().splitlines()))


def before_the_end(alarms: Iterable[Any]) -> list[Any]:
    """Those before the last events, at which hosts let time come to different moments."""
    return [each for each in alarms if each["at_us"] < NOON + SPAN + 30 * DAY]
