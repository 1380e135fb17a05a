"""Promote and rollback under load, on a real broker and real processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any

import orjson
from click.testing import CliRunner

from jobs import fraud
from jobs.clients.topic_reader import TopicReader
from jobs.commands import headrace
from jobs.stack.kafka import Kafka
from tests.deployment import Deployment, transaction, until
from tests.host_parity import every_score_is_its_versions
from tests.published import decided, published

FILE = """
from dataclasses import replace

from jobs.fraud import pipeline as fraud

pipeline = replace(fraud, every=200)
"""
PIPELINE = replace(fraud.pipeline, every=200)
OTHER = "published inputs"
AT_ONCE, EVERY_S = 20, 0.04


class Load:
    """Transactions at a steady pace, each with its label, and what is said of them."""

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
            amounts = [1 + 37 * n % 500 for n in numbers]
            paid = zip(numbers, amounts, strict=True)
            self.here.send("transactions", [transaction(n, amount=a) for n, a in paid])
            said = zip(numbers, amounts, strict=True)
            self.here.send("labels", [label(n, fraud=a > 400) for n, a in said])
            self.count += AT_ONCE


def label(number: int, *, fraud: bool) -> bytes:
    time_us = orjson.loads(transaction(number))["time"] + 1
    return orjson.dumps({"id": f"t{number}", "time": time_us, "fraud": fraud})


class Predictions:
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
    file = tmp_path / "pipeline.py"
    file.write_text(FILE)
    here = Deployment(kafka_broker, tmp_path, pipeline=file)
    load, predictions = Load(here), Predictions(here)
    latest = predictions.latest

    def models(*command: str) -> Any:
        arguments = ["models", *command, *([] if command[0] == "list" else ["--by", "ann"])]
        done = CliRunner().invoke(headrace, arguments, env=here.environment)
        assert done.exit_code == 0, done.output
        return done.stdout

    def wait(what: Callable[[], bool], wanted: str) -> None:
        import sys
        import time

        t = time.monotonic()
        until(what, wanted, job.log)
        sys.stderr.write(f"{wanted} {time.monotonic() - t:.1f} {len(predictions)} {load.count}\n")

    with load.flowing(), here.running("run", "--learn") as job:
        wait(lambda: {each[0].name for each in published(here).values()} >= {OTHER}, "both")
        wait(lambda: latest() > 0, "a version to score")
        models("promote", OTHER, "--reason", "to see")
        wait(lambda: latest() % 2 == 1, "the challenger to score")
        first = latest()
        wait(lambda: latest() % 2 == 1 and latest() > first, "its next version")
        models("rollback")
        wait(lambda: latest() % 2 == 0, "what scored before")
        held = latest()
        newest = max(published(here))
        wait(lambda: max(published(here)) > newest + 2, "newer versions")
        job.kill()
    with here.running("run", "--learn", name="again") as job:
        there = len(predictions)
        with load.flowing():
            wait(lambda: len(predictions) > there + 100, "predictions after the kill")
            assert latest() == held
            models("promote", "champion")
            wait(lambda: latest() > held, "the newest version")
        wait(lambda: len(predictions) == load.count, "all predictions")
        assert job.stop() == 0
    predictions.close()
    said = predictions.said
    every_score_is_its_versions(here, PIPELINE)
    log = decided(here)
    assert [(each.number, each.action, each.model) for each in log] == [
        (1, "promote", OTHER), (2, "rollback", "champion"), (3, "promote", "champion"),
    ]  # fmt: skip
    assert [each.before for each in log] == [log[1].sequence, *(log[1].before, held)]
    assert {(each.by, each.reason) for each in log} == {("ann", "to see"), ("ann", "")}
    assert held == log[1].sequence == log[0].before
    kept = sorted((tmp_path / "state" / "score" / "models" / "decisions").glob("*.json"))
    assert [orjson.loads(each.read_bytes())["at_us"] for each in kept] == [e.at_us for e in log]
    order = [each["model_version"] for each in said]
    turns = [(model, [*turn]) for model, turn in groupby(order, lambda each: each % 2)]
    assert [model for model, _ in turns] == [0, 1, 0]
    champion, challenger, after = (turn for _, turn in turns)
    assert champion == sorted(champion)
    assert challenger == sorted(challenger)
    assert after == sorted(after)
    assert len(set(champion)) > 1 and len(set(challenger)) > 1
    assert after[0] == held and after[-1] > held
    assert after.count(held) > 100
    assert "scores" in models("list")
