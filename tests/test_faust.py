"""The score job as real Faust workers says what the embedded host says."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

import orjson
import pytest
from click.testing import CliRunner
from prometheus_client import Metric
from prometheus_client.samples import Sample

from jobs.commands import headrace
from jobs.stack.kafka import Kafka
from jobs.stack.ports import free_port
from jobs.stack.security import Security as Users
from streams.kafka import Security
from tests.deployment import Deployment, Job, until
from tests.host_parity import END, EVENTS, buried, cut, said, stream
from tests.kafka_server import new_kafka
from tests.metrics import parsed

pytestmark = pytest.mark.skipif(find_spec("rocksdict") is None, reason="wants the extra faust")

KILLS = int(os.environ.get("HEADRACE_FAUST_KILLS", "1"))
RECORD = os.environ.get("HEADRACE_FAUST_RECORD")
"""A file for what was counted."""


def both(
    kafka: Kafka, folder: Path, seed: int, security: Security | None = None, **settings: object
) -> tuple[Deployment, Deployment, list[bytes]]:
    """One for the embedded host and one for Faust, with labels in them, and the transactions."""
    events, labels = stream(seed, str(settings["order"]))
    made = []
    for name in ("embedded", "faust"):
        (folder / name).mkdir()
        made.append(Deployment(kafka, folder / name, security, **settings))
        made[-1].send("labels", labels)
    return made[0], made[1], events


def test_in_arrival_order_a_worker_says_what_the_embedded_host_says_over_tls_and_with_a_login(
    tmp_path: Path,
) -> None:
    broker = new_kafka(tmp_path / "kafka", Users({"anna": "correct-horse"}))
    try:
        broker.start()
        ca = broker.certificate.ca
        login = {"kafka_ca": ca, "kafka_user": "anna", "kafka_password": "correct-horse"}
        security = Security(ca=ca, user="anna", password="correct-horse")
        there, here, events = both(broker, tmp_path, 1, security, order="arrival", **login)
        there.send("transactions", events)
        here.send("transactions", events)
        there.run_to_end(len(events), EVENTS + END)
        port = free_port()
        with here.running("faust", "worker", name="worker", metrics_port=port) as faust:
            here.wait_for(EVENTS + END, faust)
            watched(port, faust)
            assert faust.stop() == 0
        assert said(here) == said(there)
        assert buried(here) == buried(there)
    finally:
        broker.kill()


def watched(port: int, job: Job) -> None:
    """Check what a worker that has made all predictions says of itself."""

    def scrape() -> dict[str, Metric]:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return parsed(answer.read().decode())

    def value(name: str) -> float:
        return sum(each.value for each in scrape()[name].samples)

    until(lambda: value("headrace_input_lag_records") == 0, "all to be read", job.log)
    assert value("headrace_predictions_total") == EVENTS + END
    assert value("headrace_dead_letters_total") > 0
    assert {each.labels["topic"].rpartition(".")[2] for each in inputs(scrape())} == {
        *("transactions", "labels"),
    }
    assert value("headrace_feature_events") > 0 and value("headrace_ready") == 1


def inputs(read: dict[str, Metric]) -> list[Sample]:
    return list(read["headrace_input_records_total"].samples)


def test_exactly_once_is_refused(tmp_path: Path) -> None:
    options = ["--delivery", "exactly-once", "--state", str(tmp_path)]
    done = CliRunner().invoke(headrace, ["faust", "worker", *options])
    assert done.exit_code == 1
    assert "wanted at-least-once, got exactly-once" in done.stderr


def test_in_strict_order_a_worker_killed_under_load_loses_nothing_and_repeats_to_the_byte(
    kafka_broker: Kafka, tmp_path: Path
) -> None:
    there, here, events = both(kafka_broker, tmp_path, 2, order="strict")
    there.send("transactions", events)
    there.run_to_end(len(events), EVENTS + END - 1)
    wanted = said(there)
    slices = cut(events, KILLS + 1)
    with worker(here, "steady") as steady:
        for kill in range(KILLS):
            with worker(here, "victim", kill) as victim:
                victim.began()
                there_were = len(here.predicted())
                here.send("transactions", next(slices))
                here.wait_for(there_were + EVENTS // (KILLS + 1) // 2, victim)
        with worker(here, "victim", KILLS) as victim:
            victim.began()
            here.send("transactions", next(slices))
            until(
                lambda: wanted.keys() <= set(here.predicted()),
                "every prediction",
                lambda: steady.log()[-3000:] + victim.log(),
            )
            for each in (victim, steady):
                assert each.stop() == 0, each.log()[-3000:]
    made = here.read("predictions")
    kinds = Counter(map(orjson.dumps, made))
    counted = {
        "kills": KILLS,
        "transactions": len(wanted),
        "lost": len(wanted.keys() - {each["id"] for each in made}),
        "doubled": len(made) - len(wanted),
        "doubled_otherwise": len(kinds) - len(wanted),
    }
    if RECORD:
        Path(RECORD).write_bytes(orjson.dumps(counted))
    assert counted["lost"] == counted["doubled_otherwise"] == 0
    for each in made:
        each.pop("number")
        assert each == wanted[each["id"]]


def worker(deployment: Deployment, name: str, start: int = 0) -> AbstractContextManager[Job]:
    """One of two workers, started for the so manieth time."""
    command = ("faust", "worker", "--lanes", "2")
    state = deployment.folder / name
    return deployment.running(*command, name=f"{name}-{start}", state=state)
