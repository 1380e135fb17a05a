"""What torch costs the score job while it trains at full pace beside it: runs in turn.

The fraud pipeline with a network as its champion (`benchmarks/network_pipeline.py`): a step for
every eight examples, with 256 of the past, is more than the learn job can do of 5,000 events a
second, so it trains all the time. In the runs without, the learn job is stopped (SIGSTOP), and what
comes meanwhile is there for the runs with it.
"""

from __future__ import annotations

import os
import signal
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rich.console import Console

from benchmarks.bench_kafka_latency import HISTORY, say
from benchmarks.bench_swaps import ratio
from benchmarks.prove import ROOT
from jobs.config import Settings
from jobs.load.bench import Traffic, opened
from jobs.load.generator import Load, Target
from jobs.load.report import processes, summary, table
from jobs.load.rounds import alternate

RUNS = 10
SECONDS = 30.0
RATE = 5_000
NETWORK = str(ROOT / "benchmarks" / "network_pipeline.py")
TRAINING, RESTING = "torch trains", "it rests"


def run() -> dict[str, Any]:
    """Milliseconds with and without, the ratio of p99, versions that came into force in a run."""
    load = Load(rate=RATE, seconds=SECONDS)
    versions: list[float] = []
    with opened(Settings(pipeline=NETWORK), Traffic(history=HISTORY), fresh=True) as ready:
        job = ready.headrace

        @contextmanager
        def counted() -> Iterator[None]:
            before = job.metric("headrace_model_swaps_total")
            yield
            versions.append(job.metric("headrace_model_swaps_total") - before)

        targets = [
            replace(job, name=TRAINING, meanwhile=counted),
            replace(job, name=RESTING, meanwhile=lambda: _stopped(job)),
        ]
        series = alternate(ready.generator, targets, load, RUNS, say)
    training, resting = (each.runs for each in series.values())
    return {
        "found": summary(series),
        "p99_ratio": ratio(training, resting),
        "trained": statistics.median(each.processes["learn"]["cpu"] for each in training),
        "versions": versions,
    }


@contextmanager
def _stopped(job: Target) -> Iterator[None]:
    """The learn job stands still meanwhile."""
    os.kill(job.processes["learn"], signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(job.processes["learn"], signal.SIGCONT)


def show(result: dict[str, Any]) -> None:
    """Print the result of `run`."""
    console = Console(width=130)
    found = result["found"]
    console.print(table(found, f"{RATE:,} events/s, scored by a network"))
    console.print(processes(found))
    median, low, high = result["p99_ratio"]
    console.print(
        f"p99 while torch trains / while it rests: median {median:.2f}, quartiles {low:.2f} to "
        f"{high:.2f}; training took {result['trained']:.0%} of a core",
        highlight=False,
    )
    console.print(
        f"versions that came into force in {SECONDS:g} s: {min(result['versions']):.0f} at least",
        highlight=False,
    )


if __name__ == "__main__":
    show(run())
