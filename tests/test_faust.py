"""The score job as real Faust workers says what the embedded host says."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

import orjson
import pytest

from jobs.stack.kafka import Kafka
from tests.deployment import Deployment, Job, until
from tests.host_parity import END, EVENTS, accounted, buried, cut, said, stream

pytestmark = pytest.mark.skipif(find_spec("faust") is None, reason="wants the extra faust")

KILLS = int(os.environ.get("HEADRACE_FAUST_KILLS", "1"))
RECORD = os.environ.get("HEADRACE_FAUST_RECORD")
"""A file for what was counted."""


@pytest.mark.parametrize("order", ["strict", "arrival"])
def test_a_faust_worker_says_what_the_embedded_host_says_to_the_bit(
    kafka_broker: Kafka, tmp_path: Path, order: str
) -> None:
    events, labels = stream(1, order)
    there = Deployment(kafka_broker, tmp_path / "embedded", order=order)
    here = Deployment(kafka_broker, tmp_path / "faust", order=order)
    for each in (there, here):
        each.folder.mkdir()
        each.send("labels", labels)
        each.send("transactions", events)
    count = EVENTS + END - (order == "strict")
    with there.running() as job:
        there.wait_for(count, job)
        there.wait_until_committed(len(events), job)
    with here.running("faust", "worker", name="faust") as faust:
        here.wait_for(count, faust)
        assert faust.stop() == 0
    assert said(here) == said(there)
    assert buried(here) == buried(there)
    if order == "strict":
        assert accounted(here) == accounted(there)


def test_in_strict_order_a_worker_killed_under_load_loses_nothing_and_repeats_to_the_byte(
    kafka_broker: Kafka, tmp_path: Path
) -> None:
    """In strict order, which says of every prediction what it is to be."""
    events, labels = stream(2)
    there = Deployment(kafka_broker, tmp_path / "embedded", order="strict")
    here = Deployment(kafka_broker, tmp_path / "faust", order="strict")
    for each in (there, here):
        each.folder.mkdir()
        each.send("labels", labels)
    there.send("transactions", events)
    with there.running() as job:
        there.wait_for(EVENTS + END - 1, job)
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
            here.send("transactions", next(slices))
            until(
                lambda: wanted.keys() <= set(here.predicted()),
                "every prediction",
                lambda: steady.log()[-3000:] + victim.log(),
            )
            assert victim.stop() == steady.stop() == 0
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
