"""Try the long claims at full count: `make prove`, or `python -m benchmarks.prove --only NAME`.

What is done is kept in `out/prove` after every step, so that a run which is cut off goes on where
it was when it is started again, as long as the commit is the same. A proof that holds leaves
`docs/proofs/NAME.json`; one that does not ends the run with status 1 and leaves what broke it.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.proofs import (
    faust,
    flink,
    invariants,
    kafka_kills,
    kills,
    memory,
    outages,
    package,
    pending,
    schedules,
    soak,
)
from benchmarks.proofs.proof import BrokenError, Proof, Record
from streams.atomic import write_whole

ROOT = Path(__file__).parents[1]
KEPT, WORK = ROOT / "docs" / "proofs", ROOT / "out" / "prove"
PROOFS: dict[str, Proof] = {
    "kills": kills.KILLS,
    "operations": kills.OPERATIONS,
    "strict": kills.STRICT_KILLS,
    "kafka": kafka_kills.KAFKA_KILLS,
    "schedules": schedules.SCHEDULES,
    "invariants": invariants.INVARIANTS,
    "pending": pending.PENDING,
    "memory": memory.MEMORY,
    "outages": outages.OUTAGES,
    "flink": flink.FLINK,
    "package": package.PACKAGE,
    "faust": faust.FAUST,
    "soak": soak.SOAK,
}


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True, text=True)
    return done.stdout.strip()


def commit() -> str:
    """The commit that is proven, marked where files have been changed since."""
    changed = git("status", "--porcelain", "--", "streams", "models", "operators", "jobs")
    return git("rev-parse", "HEAD") + (" and changes" if changed else "")


def machine() -> Record:
    """What the proof ran on."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": len(models),
        "memory_gb": round(_memory_kb() / 1024**2, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _memory_kb() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemTotal"))


def run(name: str, count: int, console: Console) -> dict[str, Any]:
    """Try one claim, going on from what is kept of it; what its JSON will hold."""
    proof, place, begun = PROOFS[name], WORK / f"{name}.json", commit()
    records, seconds = _kept(place, begun, count)
    if records:
        console.print(f"{name}: going on after {len(records)} steps")
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic() - seconds
    for record in proof.steps(count, records, folder):
        records.append(record)
        seconds = time.monotonic() - began
        state = {"commit": begun, "count": count, "seconds": seconds, "records": records}
        write_whole(place, [json.dumps(state).encode()])
        so_far = proof.figures(records)["count"]
        said = ", ".join(f"{key} {value}" for key, value in record.items())
        line = f"{name}: {so_far:,} of {count:,} {proof.unit}, {seconds:,.0f} s: {said}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    shutil.rmtree(folder)
    place.unlink()
    return {
        "proof": name,
        "claim": proof.claim,
        "commit": begun,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "seconds": round(seconds, 1),
        "unit": proof.unit,
        **proof.figures(records),
    }


def _kept(place: Path, begun: str, count: int) -> tuple[list[Record], float]:
    """The records and seconds of a run of this commit and count that was cut off."""
    if place.exists():
        state = json.loads(place.read_bytes())
        if (state["commit"], state["count"]) == (begun, count):
            return state["records"], state["seconds"]
    return [], 0.0


def _finished(name: str, count: int) -> dict[str, Any] | None:
    """What is in docs/proofs of this very commit, at this count or more."""
    path = KEPT / f"{name}.json"
    held = json.loads(path.read_bytes()) if path.exists() else {}
    whole = held.get("commit") == commit() and held["count"] >= count
    return held if whole and "changes" not in held["commit"] else None


@click.command()
@click.option("--only", "names", multiple=True, type=click.Choice(list(PROOFS)))
@click.option("--count", type=click.IntRange(1), help="Instead of the full count; keeps no JSON.")
def main(names: tuple[str, ...], count: int | None) -> None:
    """Try the claims that take too long for `make test`, all of them or those named."""
    console = Console(width=160)
    table = Table("proof", "count", "of", "seconds", "found", title="Proven", title_justify="left")
    broken = False
    for name in names or PROOFS:
        try:
            held = _finished(name, PROOFS[name].count) if count is None else None
            held = held or run(name, count or PROOFS[name].count, console)
        except BrokenError as error:
            console.print(f"{name} does not hold: {error}", markup=False)
            broken = True
            continue
        if count is None:
            text = json.dumps(held, indent=2, ensure_ascii=False) + "\n"
            KEPT.mkdir(parents=True, exist_ok=True)
            write_whole(KEPT / f"{name}.json", [text.encode()])
        said = _said(held)
        table.add_row(name, f"{held['count']:,}", held["unit"], f"{held['seconds']:,.0f}", said)
    console.print(table)
    sys.exit(int(broken))


def _said(held: dict[str, Any]) -> str:
    common = ("proof", "claim", "commit", "date", "machine", "seconds", "unit", "count")
    return "\n".join(f"{key}: {value}" for key, value in held.items() if key not in common)


if __name__ == "__main__":
    main()
