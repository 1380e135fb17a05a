"""A deployment under load for many minutes: memory, open files and latency that do not grow."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.proofs.proof import BrokenError, Proof, Record
from jobs.config import Settings
from jobs.load.bench import Bench, Traffic, opened
from jobs.load.generator import Load
from jobs.load.rounds import once
from jobs.load.usage import family

RATE = 25_000.0
"""Events a second, half of what two cores carry with broker, jobs and generator on them:
`headrace bench saturate --p99 50ms --fresh` ends between 45,000 and 56,000."""
PER_DAY = 100_000.0
"""Events to a day of their own time: retention, 14 days, is over after a minute and the longest
horizon, 90 days, after six."""
WARM_MINUTES = 6
JOBS = ("score", "learn")
GROWTH = 0.005
"""Resident memory may grow by so much of itself a minute: a key whose horizon has never been as
full as now moves to a larger record, which becomes rare but never ends."""
SLOWER = 1.5


def steps(count: int, done: Sequence[Record], _: Path) -> Iterator[Record]:
    """All minutes are one step: a soak that was cut off begins anew."""
    if done:
        return
    traffic = Traffic(per_day=PER_DAY, history=20_000)
    with opened(Settings(snapshot_seconds=5.0), traffic, fresh=True) as ready:
        minutes = [_minute(ready) for _ in range(count)]
    _check(minutes[min(WARM_MINUTES, count - 1) :])
    yield {"minutes": minutes}


def _minute(ready: Bench) -> Record:
    measured = once(ready.generator, ready.headrace, Load(rate=RATE, seconds=58.0))
    if measured.missing or measured.duplicates:
        raise BrokenError(f"{measured.missing} predictions missing, {measured.duplicates} repeated")
    pids = ready.headrace.processes
    return {
        "p50_ms": round(measured.latency_ms["p50"], 2),
        "p99_ms": round(measured.latency_ms["p99"], 2),
        "p99.9_ms": round(measured.latency_ms["p99.9"], 2),
        "rss_mb": {job: round(measured.processes[job]["rss"] / 1e6, 1) for job in JOBS},
        "files": {job: _open_files(pids[job]) for job in JOBS},
    }


def _open_files(pid: int) -> int:
    return sum(len(list(Path(f"/proc/{each}/fd").iterdir())) for each in family(pid))


def _check(minutes: Sequence[Record]) -> None:
    half = max(len(minutes) // 2, 1)
    first, last = minutes[:half], minutes[-half:]
    for job in JOBS:
        before = _median(first, "rss_mb", job)
        grown = _median(last, "rss_mb", job) - before
        if grown > GROWTH * before * half:
            raise BrokenError(f"the {job} job grew by {grown:.0f} MB in {half} minutes: {minutes}")
        files = _median(last, "files", job) - _median(first, "files", job)
        if files > 2:
            raise BrokenError(f"the {job} job has {files:.0f} more open files: {minutes}")
    for name in ("p50_ms", "p99_ms"):
        slower = _median(last, name) / _median(first, name)
        if slower > SLOWER:
            raise BrokenError(f"{name} became {slower:.2f} times as long: {minutes}")


def _median(minutes: Sequence[Record], name: str, job: str = "") -> float:
    values = [float(each[name][job] if job else each[name]) for each in minutes]
    return statistics.median(values)


def figures(records: Sequence[Record]) -> Record:
    """Minute by minute, and the medians of both halves after the first minutes."""
    minutes = records[0]["minutes"] if records else []
    after = minutes[min(WARM_MINUTES, len(minutes) - 1) :] if minutes else []
    half = max(len(after) // 2, 1)
    found: Record = {"count": len(minutes), "rate": RATE}
    for name, part in (("first", after[:half]), ("last", after[-half:])):
        if part:
            found[f"{name}_half"] = {
                "p50_ms": _median(part, "p50_ms"),
                "p99_ms": _median(part, "p99_ms"),
                "rss_mb": {job: _median(part, "rss_mb", job) for job in JOBS},
                "files": {job: _median(part, "files", job) for job in JOBS},
            }
    return found | {"minutes": minutes}


SOAK = Proof(
    "a deployment under a steady load neither grows nor slows down, and loses nothing",
    20,
    "minutes",
    steps,
    figures,
)
