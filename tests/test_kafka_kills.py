"""Jobs and broker killed a few times lose and repeat nothing; `make prove` kills many more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# A process of its own: kafka-python leaves sockets open while a broker is away.
ROUND = [sys.executable, "-m", "benchmarks.proofs.kafka_kills", "--rate", "300", "--within", "1.5"]


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_jobs_and_broker_that_are_killed_lose_nothing_and_repeat_only_what_they_may(
    delivery: str,
) -> None:
    command = [*ROUND, "--delivery", delivery, "--seed", "1", "--kills", "3", "1", "0"]
    home = Path(__file__).parents[1]
    run = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-5000:]
    found = json.loads(run.stdout)
    assert found["score_kills"] == 3 and found["broker_kills"] == 1
    assert 0 < found["predictions"] <= found["transactions"]
