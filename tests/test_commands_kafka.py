"""publish, subscribe, dead-letters, ledger as a user calls them: a real broker, real jobs."""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from jobs.commands import headrace
from jobs.simulate import simulate
from jobs.stack.kafka import Kafka
from tests.deployment import Deployment, Job, transaction, until

WORLD = {"customers": 300, "terminals": 100, "per_day": 400, "fraud_rate": 0.05}
HOSTILE = {"garbage": 0.02, "duplicates": 0.02, "late": 0.02, "conflicts": 0.01}
COUNTED = {"transactions", "late", "duplicates", "conflicts", "labels"}


def call(here: Deployment, *arguments: object) -> Result:
    return CliRunner().invoke(headrace, list(map(str, arguments)), env=here.environment)


def done(here: Deployment, *arguments: object) -> str:
    result = call(here, *arguments)
    assert result.exit_code == 0, result.output
    return result.output


def lines(said: str) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in said.splitlines() if line.startswith("{")]


@dataclass
class World:
    here: Deployment
    job: Job
    written: Counter[str]
    """What was in the file."""

    @property
    def garbage(self) -> int:
        return sum(n for name, n in self.written.items() if name not in COUNTED)


@pytest.fixture(scope="module")
def world(kafka_broker: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A file with everything in it, published, scored and learnt from."""
    folder = tmp_path_factory.mktemp("world")
    written = simulate(folder / "hostile.ndjson", [], {**WORLD, **HOSTILE, "events": 4000})
    here = Deployment(kafka_broker, folder)
    said = done(here, "publish", folder / "hostile.ndjson")
    assert said.startswith("sent 4,1")
    with here.running("run", "--learn") as job:
        here.wait_for(written["transactions"], job)
        yield World(here, job, written)


def ledger(world: World) -> dict[str, dict[str, int]]:
    """The parts of each flow, once nothing is in flight any more."""
    found: dict[str, dict[str, int]] = {}

    def settled() -> bool:
        result = call(world.here, "ledger", "--json")
        assert result.exit_code == 0, result.output
        answer = orjson.loads(result.stdout)
        assert [line["missing"] for line in answer["balances"]] == [0, 0, 0]
        found.update({line["flow"]: line["parts"] for line in answer["balances"]})
        return not found["transactions"]["in flight"]

    until(settled, "an empty flight", world.job.log)
    return found


def test_the_ledger_of_the_topics_is_what_was_written(world: World) -> None:
    parts, written = ledger(world), world.written
    assert parts["transactions"]["predictions"] == written["transactions"]
    assert parts["transactions"]["duplicates"] == written["duplicates"]
    dead = parts["transactions"]["dead letters"] + parts["labels"]["dead letters"]
    assert dead == world.garbage + written["conflicts"]
    assert parts["labels"]["learnt from"] > 0


def test_every_prediction_can_be_subscribed_to(world: World) -> None:
    most = world.written["transactions"]
    said = done(world.here, "subscribe", "predictions", "--from", "beginning", "--count", most)
    assert len({line["id"] for line in lines(said)}) == most


def test_a_filter_and_a_time_choose_among_them(world: World) -> None:
    more = ("--filter", "score<=1", "--filter", "decision=approve", "--json")
    said = done(world.here, "subscribe", "predictions", "--from", "1d", "--count", 50, *more)
    assert [line["decision"] for line in lines(said)] == ["approve"] * 50


def test_a_subscriber_hears_what_comes_after_it(world: World, tmp_path: Path) -> None:
    command = ["subscribe", "predictions", "--filter", "id>heard", "--count", "1"]
    with world.here.running(*command, name="subscriber") as subscriber:
        numbers = count()

        def heard() -> bool:
            late = transaction(1, id=f"heard{next(numbers)}", time=1_704_700_000_000_000)
            world.here.send("transactions", [late])
            return '"id":"heard' in subscriber.log()

        until(heard, "the subscriber", world.job.log)
        assert subscriber.ended() == 0


def test_dead_letters_are_listed_shown_and_replayed_once(world: World) -> None:
    here = world.here
    total = world.garbage + world.written["conflicts"]
    listed = lines(done(here, "dead-letters", "list", "--json", "--count", 10_000))
    assert len(listed) == total
    assert f"{total:,} in all" in done(here, "dead-letters", "list", "--count", 5)
    reason = str(listed[0]["reason"])
    same = done(here, "dead-letters", "list", "--json", "--reason", reason)
    assert {line["reason"] for line in lines(same)} == {reason}
    place = str(listed[0]["place"])
    shown = done(here, "dead-letters", "show", place.removeprefix(here.prefix))
    assert f"reason      {reason}" in shown and "key" in shown

    before = ledger(world)
    bad = world.garbage
    assert f"sent {bad:,} again, left 0" in done(here, "dead-letters", "replay")
    after = ledger(world)
    assert after["transactions"]["predictions"] == before["transactions"]["predictions"]
    dead = [each["transactions"]["dead letters"] + each["labels"]["dead letters"] for each in
            (before, after)]  # fmt: skip
    assert dead == [total, total + bad]
    assert f"sent 0 again, left {2 * bad:,} alone" in done(here, "dead-letters", "replay")
    again = done(here, "dead-letters", "replay", place, "--again")
    assert "sent 1 again" in again


def test_a_place_without_a_letter_is_refused(world: World) -> None:
    for place, said in (("transactions/0/99999999", "no such dead letter"), ("x", "wanted topic/")):
        result = call(world.here, "dead-letters", "show", place)
        assert result.exit_code == 1 and said in result.output


PIPELINE = """
from headrace import Entity, Event, Label, Linear, Number, Pipeline, value

payment = Event(
    "payment", keys=("customer", "terminal"), label=Label("fraud"),
    numbers=(Number("amount", scale=2, maximum=100_000),), max_ahead="20s",
)
pipeline = Pipeline(
    name="payments", event=payment, champion=Linear(),
    features={"amount": value("amount"), "count": Entity("customer").count("1d")},
)
"""


def test_what_can_be_read_now_gets_its_prediction_once(kafka_broker: Kafka, tmp_path: Path) -> None:
    """A terminal's clock is ahead: its payments are refused until that time has come."""
    (tmp_path / "pipeline.py").write_text(PIPELINE, encoding="utf-8")
    here = Deployment(kafka_broker, tmp_path, pipeline=tmp_path / "pipeline.py")
    with here.running() as job:
        job.began()
        ahead_us = time.time_ns() // 1000 + 25_000_000
        here.send("transactions", [transaction(1, time=ahead_us), transaction(2)], [b"c1", b"c2"])
        here.wait_for(1, job)
        until(lambda: len(here.runs("dead-letters")) > 0, "the dead letter", job.log)
        assert here.predicted() == ["t2"]
        until(lambda: time.time_ns() // 1000 > ahead_us - 15_000_000, "that time", job.log)
        for _ in range(2):
            done(here, "dead-letters", "replay")
        here.send("transactions", [transaction(3)])
        here.wait_for(3, job)
        assert here.predicted() == ["t2", "t1", "t3"]
        keys = [key for run in here.runs("predictions") for key in run.keys]
        headers = [each for run in here.runs("predictions") for each in run.each_headers()]
    assert keys == [b"c2", b"c1", b"c3"]
    assert headers[1] == [("headrace-replayed-from", f"{here.prefix}transactions/0/0".encode())]


def test_a_rate_spreads_what_is_sent_and_a_speed_follows_its_times(
    kafka_broker: Kafka, tmp_path: Path
) -> None:
    here = Deployment(kafka_broker, tmp_path)
    path = tmp_path / "minutes.ndjson"
    path.write_bytes(b"\n".join(transaction(n) for n in range(100)))
    paces = (("--rate", 100), ("--speed", "6000x"), ("--rate", 100, "--arrivals", "poisson"), ())
    said = [done(here, "publish", path, *pace) for pace in paces]
    assert all("sent 100 events and 0 labels, in " in each for each in said)
    steady, timed, poisson, fast = (float(each.rsplit("in ", 1)[1].split()[0]) for each in said)
    assert steady >= 0.9 and timed >= 0.9 and poisson > 0.6 > fast
    assert len(here.read("transactions")) == 400


def test_ctrl_c_ends_a_simulation_with_all_it_sent_in_the_topic(
    kafka_broker: Kafka, tmp_path: Path
) -> None:
    here = Deployment(kafka_broker, tmp_path)
    command = [sys.executable, "-m", "jobs.cli", "publish", "--simulate", "--rate", "300"]
    with subprocess.Popen(
        command, env=here.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until(lambda: len(here.read("transactions")) > 100, "events", lambda: "")
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    there = len(here.read("transactions"))
    assert f"sent {there:,} events and 0 labels" in said


def test_what_cannot_work_is_one_line_and_status_1(kafka_broker: Kafka, tmp_path: Path) -> None:
    here = Deployment(kafka_broker, tmp_path)
    path = tmp_path / "one.ndjson"
    path.write_bytes(transaction(1))
    nobody = ("--brokers", "127.0.0.1:1")
    for arguments, said in (
        (("publish", path, "--prefix", "none."), "none.transactions"),
        (("publish", path, *nobody), "127.0.0.1:1"),
        (("publish", tmp_path / "none.ndjson"), "No such file"),
        (("subscribe", "predictions", "--prefix", "none."), "none.predictions"),
        (("ledger", "--prefix", "none."), "none.transactions"),
        (("dead-letters", "list", "--prefix", "none."), "none.dead-letters"),
        (("publish", "--simulate", "--start", "2100-01-01"), "--prefix"),
        (("publish", "--simulate", "--drift", "earthquake@2024-02-01"), "got 'earthquake"),
    ):
        result = call(here, *arguments)
        assert result.exit_code == 1, result.output
        assert result.output.startswith("error: ") and result.output.count("\n") == 1
        assert said in result.output


def test_topics_can_be_read_as_soon_as_they_are_made(kafka_broker: Kafka, tmp_path: Path) -> None:
    for _ in range(5):
        assert Deployment(kafka_broker, tmp_path).read("predictions") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["publish"],
        ["publish", "a.csv", "--simulate"],
        ["publish", "a.csv", "--with-labels"],
        ["publish", "a.csv", "--drift", "unit@2024-02-01"],
        ["publish", "--simulate", "--columns", "id=ID"],
        ["publish", "a.csv", "--rate", "5", "--speed", "2x"],
        ["publish", "a.csv", "--arrivals", "burst"],
        ["publish", "a.csv", "--speed", "fast"],
        ["publish", "a.csv", "--rate", "0"],
        ["subscribe", "nothing"],
        ["subscribe", "predictions", "--filter", "score"],
        ["subscribe", "predictions", "--from", "soon"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(headrace, arguments).exit_code == 2
