"""The score job as a Faust worker beside a naive Faust job: catching up, and latency.

The reduced job makes customer windows (1, 7 and 30 days, count and mean), topic to topic; the whole
job is the fraud pipeline with its index and both entities. One worker each; the broker and the load
generator are on the same machine. Contenders take turns; a figure is the median of the runs.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.bench_kafka_latency import titled
from benchmarks.bench_kafka_peers import HISTORY, measure
from benchmarks.bench_kafka_throughput import REDUCED
from benchmarks.catching_up import Rate, differing, rate
from benchmarks.catching_up import fill as fill_topic
from benchmarks.on_faust import own_faust
from benchmarks.peers.start import PEERS, peer
from jobs.config import Settings
from jobs.load.bench import Traffic, fill, supply
from jobs.load.clients import connection
from jobs.load.generator import Generator, Load, Target
from jobs.load.report import summary, table
from jobs.load.rounds import Series
from jobs.load.stand import job_topics, own_broker
from jobs.load.topics import made
from streams.errors import InputError
from streams.topics import TRANSACTIONS

RUNS = 3
SECONDS = 8.0
COMPARED = 20_000


class Contender(NamedTuple):
    """What is measured, and on how much."""

    events: int
    pipeline: str = REDUCED


CONTENDERS = {
    "ours, reduced": Contender(400_000),
    "Faust": Contender(30_000),
    "ours, whole": Contender(200_000, "fraud"),
}
WAITED_FOR = ("ours, reduced", "Faust")
LOADS = (Load(rate=1_000, seconds=5, wait=3),)


def run() -> dict[str, Any]:
    """Events a second, CPU and features that are not exact; milliseconds by load."""
    rates: dict[str, list[Rate]] = defaultdict(list)
    wrong: dict[str, tuple[int, int]] = {}
    series = {titled(load): {name: Series() for name in WAITED_FOR} for load in LOADS}
    failed: dict[str, str] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="headrace-bench-")))
        settings, processes = stack.enter_context(own_broker(folder, Settings()))
        for place in range(RUNS):
            for name, contender in CONTENDERS.items():
                own = _own(settings, folder, f"{place}-rate", name)
                with made(connection(own), job_topics(own)):
                    source = own.topic(TRANSACTIONS)
                    fill_topic(supply(own, source, Traffic()), source, contender.events)
                    with _started(name, own, processes) as target:
                        rates[name].append(rate(own, target, contender.events, SECONDS))
                        if contender.pipeline == REDUCED and name not in wrong:
                            wrong[name] = differing(own, target, COMPARED)
                print(f"{name}: {rates[name][-1].events_per_s:,.0f} events/s", flush=True)
            for name in WAITED_FOR:
                own = _own(settings, folder, f"{place}-wait", name)
                try:
                    _wait(name, own, processes, series)
                except InputError as error:
                    failed[name] = str(error)
    loads = {
        title: summary({name: each for name, each in loaded.items() if each.runs})
        for title, loaded in series.items()
    }
    rows = {name: _row(each, wrong.get(name)) for name, each in rates.items()}
    return {"contenders": rows, "loads": loads, "failed": failed}


def _own(settings: Settings, folder: Path, place: str, name: str) -> Settings:
    slug = f"{place}-{name.replace(' ', '-').replace(',', '')}"
    (folder / slug).mkdir()
    pipeline = CONTENDERS[name].pipeline
    return replace(settings, prefix=f"{slug}.", state=folder / slug, pipeline=pipeline)


def _started(
    name: str, settings: Settings, processes: Mapping[str, int]
) -> AbstractContextManager[Target]:
    if name in PEERS:
        return peer(name, settings, settings.topic(TRANSACTIONS), processes)
    return own_faust(settings.state, settings, processes, name)


def _wait(
    name: str,
    settings: Settings,
    processes: Mapping[str, int],
    series: Mapping[str, Mapping[str, Series]],
) -> None:
    """Measure how long predictions of the contender, started and warm, are waited for."""
    with ExitStack() as stack:
        stack.enter_context(made(connection(settings), job_topics(settings)))
        target = stack.enter_context(_started(name, settings, processes))
        generator = stack.enter_context(Generator(supply(settings, target.events, Traffic())))
        generator.settle(target)
        fill(generator, target, HISTORY)
        for load in LOADS:
            measure(generator, target, load, series[titled(load)][name])


def _row(rates: list[Rate], wrong: tuple[int, int] | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "events_per_s": statistics.median(each.events_per_s for each in rates),
        "slowest": min(each.events_per_s for each in rates),
        "fastest": max(each.events_per_s for each in rates),
        "cpu": {name: statistics.median(each.cpu[name] for each in rates) for name in rates[0].cpu},
    }
    return row | ({"differing": wrong[0], "compared": wrong[1]} if wrong else {})


def show(result: dict[str, Any]) -> None:
    """Print the result of `run`."""
    rows = result["contenders"]
    found = Table(title="As a Faust worker: catching up on a filled topic, one partition")
    for heading in ("", "events/s", "range", "× Faust", "not exact", "CPU"):
        found.add_column(heading, justify="left" if heading in {"", "CPU"} else "right")
    for name, row in rows.items():
        found.add_row(
            name,
            f"{row['events_per_s']:,.0f}",
            f"{row['slowest']:,.0f}–{row['fastest']:,.0f}",
            f"{row['events_per_s'] / rows['Faust']['events_per_s']:.1f}",
            f"{row['differing']:,} of {row['compared']:,}" if "differing" in row else "",
            ", ".join(f"{process} {share:.0%}" for process, share in row["cpu"].items()),
        )
    console = Console(width=130)
    console.print(found)
    for title, each in result["loads"].items():
        console.print(table(each, title))
    for name, why in result["failed"].items():
        console.print(f"{name}: {why}", highlight=False)


if __name__ == "__main__":
    show(run())
