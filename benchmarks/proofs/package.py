"""A package for a cluster without internet, made, unpacked elsewhere and run from there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.proofs.outages import run_test
from benchmarks.proofs.proof import BrokenError, Proof, Record

FILE = "tests/test_flink_package.py"


def steps(count: int, done: Sequence[Record], _: Path) -> Iterator[Record]:
    """One step: all of them use the same package."""
    if done:
        return
    ran = run_test("-q", "-rs", FILE, HEADRACE_PACKAGE=str(count))
    last = ran.stdout.splitlines()[-1]
    if ran.returncode or "skipped" in last:
        raise BrokenError(f"{FILE}: {ran.stdout[-4000:]}{ran.stderr[-1000:]}")
    yield {"tests": last, "transactions": count}


def figures(records: Sequence[Record]) -> Record:
    """How many transactions each of its clusters scored."""
    return {"count": min((each["transactions"] for each in records), default=0)}


PACKAGE = Proof(
    "a package, unpacked elsewhere, runs the job from its own files alone: as the Kubernetes "
    "deployment starts it, and as a session cluster that its own command submits to",
    50,
    "transactions each",
    steps,
    figures,
)
