"""The score job as real Faust workers says what the embedded host says."""

from __future__ import annotations

import json
import os
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from jobs.stack.kafka import Kafka
from tests.deployment import Deployment
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
    with here.running("faust", "worker", name="faust") as worker:
        here.wait_for(count, worker)
        assert worker.stop() == 0
    assert said(here) == said(there)
    assert buried(here) == buried(there)
    if order == "strict":
        assert accounted(here) == accounted(there)


def test_one_of_two_workers_killed_under_load_loses_nothing_and_repeats_to_the_byte(
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
    count = EVENTS + END - 1
    with there.running() as job:
        there.wait_for(count, job)
    command = ("faust", "worker", "--lanes", "2", "--checkpoint", "300")
    slices = cut(events, 2 + KILLS)
    first = here.running(*command, name="first", state=here.folder / "first")
    with first as steady:
        for kill in range(KILLS + 1):
            name = f"second-{kill}"
            with here.running(*command, name=name, state=here.folder / "second") as victim:
                victim.began()
                here.send("transactions", next(slices))
                before = len(here.predicted())
                here.wait_for(before + 100, victim)
                if kill < KILLS:
                    continue
                here.send("transactions", [each for rest in slices for each in rest])
                wanted = set(said(there))
                from tests.deployment import until

                until(
                    lambda: wanted <= set(here.predicted()),
                    "every prediction",
                    lambda: steady.log()[-3000:] + victim.log(),
                )
                assert victim.stop() == 0
        assert steady.stop() == 0
    made = [record for record in here.read("predictions")]
    values = {bytes(json.dumps(each), "utf-8") for each in made}
    times = Counter(each["id"] for each in made)
    counted = {
        "kills": KILLS,
        "transactions": len(times),
        "lost": len(wanted - set(times)),
        "doubled": sum(n - 1 for n in times.values()),
        "differing": len(values) - len(times),
    }
    print(counted)
    if RECORD:
        Path(RECORD).write_text(json.dumps(counted), "utf-8")
    single = {each["id"]: each for each in made}
    for each in single.values():
        each.pop("number")
    assert single == said(there)
    assert counted["lost"] == counted["differing"] == 0
