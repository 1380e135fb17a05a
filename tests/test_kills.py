"""A replay killed three times leaves what it leaves undisturbed; `make prove` kills many more."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.proofs.kills import (
    ARRIVAL,
    STRICT,
    Plan,
    Replayer,
    Scenario,
    instants,
    operations,
    replayer,
    rounds,
)

FEW = {"events": 4000, "customers": 200, "terminals": 100, "per_day": 200}


@pytest.fixture(scope="module")
def replays() -> Iterator[Replayer]:
    with replayer() as forking:
        yield forking


@pytest.mark.parametrize(
    ("scenario", "plan"),
    [(ARRIVAL["parquet"], instants), (STRICT["strict"], operations)],
    ids=["at any instant", "between file operations"],
)
def test_a_replay_killed_three_times_leaves_the_same_bits(
    scenario: Scenario, plan: Plan, replays: Replayer, tmp_path: Path
) -> None:
    done = list(rounds(replays, {"few": scenario}, plan, 3, tmp_path, **FEW))
    assert sum(each["kills"] for each in done) == 3
    assert all(each["rows"] == FEW["events"] and each["alarms"] > 60 for each in done)
