"""The score job on Flink: beside the naive PyFlink job and Flink SQL, by its keys, and its state.

The reduced job makes customer windows (1, 7 and 30 days, count and mean), topic to topic; the whole
job is the fraud pipeline with its index, both entities and labels. Ours runs on a session cluster
of its own, as `headrace up flink` starts it; the peers in Flink's process of theirs. The broker and
the load generator are on the same machine. Contenders take turns; a figure is the median of runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from benchmarks.flink.contenders import latency, throughput
from benchmarks.flink.keys import keys
from benchmarks.flink.own import Stand
from benchmarks.flink.records import records
from benchmarks.flink.shown import shown
from benchmarks.flink.state import state
from jobs.config import Settings
from jobs.load.stand import own_broker

RUNS = 2
PARTS: dict[str, Callable[[Stand, int], dict[str, Any]]] = {
    "throughput": throughput,
    "latency": latency,
    "keys": keys,
    "records": records,
    "state": state,
}


def run() -> dict[str, Any]:
    """What each part found; see there."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="headrace-bench-")))
        settings, processes = stack.enter_context(own_broker(folder, Settings()))
        stand = Stand(settings, folder, processes)
        return {name: part(stand, RUNS) for name, part in PARTS.items()}


def show(result: dict[str, Any]) -> None:
    """Print the result of `run`."""
    console = Console(width=130)
    for each in shown(result):
        console.print(each, highlight=False)


if __name__ == "__main__":
    show(run())
