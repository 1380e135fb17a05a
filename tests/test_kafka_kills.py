"""Jobs and broker killed a few times lose and repeat nothing; `make prove` kills many more."""

from pathlib import Path

import pytest

from benchmarks.proofs.deployed.round import Kills, Round, Scenario
from jobs.config import Delivery


@pytest.mark.parametrize(
    ("delivery", "seed"), [("at-least-once", 1), ("exactly-once", 2)], ids=["at least", "exactly"]
)
def test_jobs_and_broker_that_are_killed_lose_nothing_and_repeat_only_what_they_may(
    delivery: Delivery, seed: int, tmp_path: Path
) -> None:
    scenario = Scenario(delivery, rate=300.0, within=1.5)
    found = Round(scenario, Kills(score=3, broker=1, learn=1), seed, tmp_path).play()
    assert found["score_kills"] == 3 and found["broker_kills"] == 1
    assert 0 < found["predictions"] <= found["transactions"]
