"""Ten million events over a million customers: bytes an event, a restart, and a churn of keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import bench_memory
from benchmarks.proofs.alone import alone
from benchmarks.proofs.proof import BrokenError, Proof, Record

MOST = {"bytes_per_event": 40.0, "resident_bytes_per_event": 40.0, "restart_s": 5.0}
CHURN = 1.05
"""Resident memory after five more live sets of keys, in terms of that after the first."""


def steps(_count: int, done: Sequence[Record], _folder: Path) -> Iterator[Record]:
    """One step, of the size that `benchmarks.bench_memory` states."""
    if done:
        return
    found = {name: round(value, 2) for name, value in alone(bench_memory.run).items()}
    for name, most in MOST.items():
        if found[name] > most:
            raise BrokenError(f"{name}: wanted at most {most}, got {found[name]}")
    if found["churn_last_mib"] > CHURN * found["churn_first_mib"]:
        raise BrokenError(f"keys that come and go must leave memory as it was, got {found}")
    yield found


def figures(records: Sequence[Record]) -> Record:
    found = dict(records[0])
    return {"count": int(found.pop("events")), **found}


MEMORY = Proof(
    "retained events take at most 40 bytes each, all records are read from disk within 5 seconds, "
    "and keys that come and go leave memory flat",
    bench_memory.EVENTS,
    "events",
    steps,
    figures,
)
