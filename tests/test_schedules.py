"""Both jobs over a broker in memory, under seeded faults; `make prove` plays 10,000 schedules."""

from __future__ import annotations

from pathlib import Path

from benchmarks.proofs.schedules import play, several

SEEDS = 200


def test_two_hundred_fault_schedules_hold() -> None:
    found = several(range(SEEDS))
    assert found["schedules"] == SEEDS
    assert found["crashes"] > SEEDS / 2


def test_a_seed_says_the_same_again(tmp_path: Path) -> None:
    first: list[str] = []
    again: list[str] = []
    assert play(3, tmp_path / "first", first.append) == play(3, tmp_path / "again", again.append)
    assert first == again
