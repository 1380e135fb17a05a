"""What exactly-once adds to latency, by the time between commits; the peers' way beside.

Every figure is of the whole reduced path with one setting: windows of customers, topic to topic.
Consumers read committed records only, so a prediction is there when its transaction is.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from benchmarks.bench_kafka_peers import measure, started
from benchmarks.bench_kafka_throughput import REDUCED
from jobs.config import Settings
from jobs.load.generator import Load
from jobs.load.report import summary, table
from jobs.load.rounds import Series
from jobs.load.stand import own_broker

RUNS = 5
COMMITS_MS = (10, 50, 200)
LOAD = Load(rate=1_000, seconds=6, wait=5)
OURS, PEERS = "headrace, reduced", ("Quix Streams", "PyFlink")
PEERS_MS = 200
"""A shorter interval than this none of the peers bears."""


def run() -> dict[str, Any]:
    """Milliseconds at-least-once, and exactly-once by commit interval."""
    contenders = {"headrace, at least once": (OURS, Settings(pipeline=REDUCED))}
    for interval in COMMITS_MS:
        own = Settings(pipeline=REDUCED, delivery="exactly-once", commit_ms=interval)
        contenders[f"headrace, every {interval} ms"] = OURS, own
    for name in PEERS:
        own = Settings(delivery="exactly-once", commit_ms=PEERS_MS)
        contenders[f"{name}, every {PEERS_MS} ms"] = name, own
    series = {name: Series() for name in contenders}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="headrace-bench-")))
        settings, processes = stack.enter_context(own_broker(folder, Settings()))
        for place in range(RUNS):
            for number, (title, (name, own)) in enumerate(contenders.items()):
                here = replace(
                    own,
                    brokers=settings.brokers,
                    prefix=f"{place}-{number}.",
                    state=folder / f"{place}-{number}",
                )
                with started(name, here, processes) as (generator, target):
                    measure(generator, replace(target, name=title), LOAD, series[title])
    return summary(series)


def show(result: dict[str, Any]) -> None:
    """Print the result of `run`."""
    console = Console(width=130)
    console.print(table(result, f"Exactly-once, {LOAD.rate:,.0f} events/s"))
    plain = next(iter(result.values()))["latency_ms"]
    for name, row in result.items():
        added = {which: row["latency_ms"][which] - plain[which] for which in ("p50", "p99")}
        console.print(f"{name}: p50 +{added['p50']:.1f} ms, p99 +{added['p99']:.1f} ms")


if __name__ == "__main__":
    show(run())
