"""One of two Faust workers, killed under load as often as the claim has it, and counted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.proofs.outages import run_test
from benchmarks.proofs.proof import BrokenError, Proof, Record

TEST = (
    "tests/test_faust.py::"
    "test_in_strict_order_a_worker_killed_under_load_loses_nothing_and_repeats_to_the_byte"
)


def steps(count: int, done: Sequence[Record], folder: Path) -> Iterator[Record]:
    """One step: the test with so many kills."""
    if done:
        return
    found = folder / "counted.json"
    environment = {"HEADRACE_FAUST_KILLS": str(count), "HEADRACE_FAUST_RECORD": str(found)}
    ran = run_test("-q", "-rs", TEST, **environment)
    if ran.returncode or not found.exists():
        raise BrokenError(f"{TEST}: {ran.stdout[-4000:]}{ran.stderr[-1000:]}")
    yield json.loads(found.read_bytes())


def figures(records: Sequence[Record]) -> Record:
    """What was counted."""
    counted = dict(records[0]) if records else {"kills": 0}
    return {"count": counted.pop("kills"), **counted}


FAUST = Proof(
    "one of two Faust workers killed by SIGKILL under load and started again, in strict order: no "
    "prediction is lost, what is doubled is so to the byte, and all are those of the embedded host",
    5,
    "kills",
    steps,
    figures,
)
