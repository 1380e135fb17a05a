"""Promote and rollback under load, on a real broker and a real process that scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any

import orjson
from click.testing import CliRunner

from jobs.clients.topic_reader import TopicReader
from jobs.commands import headrace
from jobs.config import Settings
from jobs.fraud import pipeline
from jobs.load.swapper import Swapper
from jobs.stack.kafka import Kafka
from streams.closing import Closing
from tests.deployment import Deployment, transaction, until
from tests.host_parity import every_score_is_its_versions
from tests.published import decided

OTHER = "published inputs"
AT_ONCE, EVERY_S = 20, 0.04


class Load:
    """Transactions at a steady pace."""

    def __init__(self, here: Deployment) -> None:
        self.here, self.count = here, 0

    @contextmanager
    def flowing(self) -> Iterator[None]:
        ended = Flag()
        thread = Thread(target=self._flow, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _flow(self, ended: Flag) -> None:
        while not ended.wait(EVERY_S):
            numbers = range(self.count, self.count + AT_ONCE)
            paid = [transaction(n, amount=1 + 37 * n % 500) for n in numbers]
            self.here.send("transactions", paid)
            self.count += AT_ONCE


class Predictions(Closing):
    """The predictions in order, read on when asked; what comes again is the same to the byte."""

    def __init__(self, here: Deployment) -> None:
        self._reader = TopicReader(here.client, here.prefix + "predictions")
        self._raw: dict[str, bytes] = {}
        self.said: list[dict[str, Any]] = []

    def __len__(self) -> int:
        self._reader.look_again()
        for run in self._reader.to_end():
            for value in run.values:
                self._take(value or b"")
        return len(self.said)

    def _take(self, raw: bytes) -> None:
        each = orjson.loads(raw)
        if each["id"] not in self._raw:
            self.said.append(each)
        assert self._raw.setdefault(each["id"], raw) == raw

    def latest(self) -> int:
        """The version of the last one."""
        return int(self.said[-1]["model_version"]) if len(self) else 0

    def close(self) -> None:
        self._reader.close()


def test_promote_and_rollback_under_load(kafka_broker: Kafka, tmp_path: Path) -> None:
    here = Deployment(kafka_broker, tmp_path)
    load = Load(here)

    def models(*command: str) -> Any:
        arguments = ["models", *command, *([] if command[0] == "list" else ["--by", "ann"])]
        done = CliRunner().invoke(headrace, arguments, env=here.environment)
        assert done.exit_code == 0, done.output
        return done.stdout

    def wait(what: Callable[[], bool], wanted: str) -> None:
        until(what, wanted, job.log)

    settings = Settings.load(environ=here.environment)
    with closing(Swapper(pipeline, settings, decides=True)) as learner, Predictions(here) as seen:
        latest = seen.latest
        with here.running() as job, load.flowing():
            learner.publish()
            wait(lambda: latest() > 0, "a version to score")
            learner.publish()
            wait(lambda: latest() > 2, "the next one")
            models("promote", OTHER, "--reason", "to see")
            wait(lambda: latest() % 2 == 1, "the challenger to score")
            first = latest()
            learner.publish()
            wait(lambda: latest() > first, "its next version")
            models("rollback")
            wait(lambda: latest() % 2 == 0, "what scored before")
            held, there = latest(), len(seen)
            learner.publish()
            wait(lambda: len(seen) > there + 500, "predictions by it")
            job.kill()
        with here.running(name="again") as job:
            there = len(seen)
            with load.flowing():
                wait(lambda: len(seen) > there + 500, "predictions after the kill")
                assert latest() == held
                models("promote", "champion")
                wait(lambda: latest() > held, "the newest version")
            wait(lambda: len(seen) == load.count, "all predictions")
            assert job.stop() == 0
        order = [each["model_version"] for each in seen.said if each["model_version"]]
    every_score_is_its_versions(here, pipeline)
    turns = [(model, [*turn]) for model, turn in groupby(order, lambda each: each % 2)]
    assert [model for model, _ in turns] == [0, 1, 0]
    champion, challenger, after = (turn for _, turn in turns)
    for turn in (champion, challenger, after):
        assert turn == sorted(turn)
        assert len(set(turn)) == 2
    assert held == champion[-1] == after[0] < challenger[-1] < after[-1]
    assert after.count(held) > 1000
    log = decided(here)
    assert [(each.number, each.action, each.model, each.before, each.sequence) for each in log] == [
        (1, "promote", OTHER, held, first),
        (2, "rollback", "champion", challenger[-1], held),
        (3, "promote", "champion", held, after[-1]),
    ]
    assert [(each.by, each.reason) for each in log] == [("ann", "to see"), ("ann", ""), ("ann", "")]
    kept = sorted((tmp_path / "state" / "score" / "models" / "decisions").glob("*.json"))
    assert [orjson.loads(each.read_bytes())["at_us"] for each in kept] == [e.at_us for e in log]
    assert models("list").count("by ann") == 3
