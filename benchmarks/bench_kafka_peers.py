"""Latency of customer windows topic to topic: ours, the echo and the peers, at the same rates.

Each contender is started on topics of its own, given some events to warm up on, measured at every
rate, and stopped before the next: nothing else runs beside it but the broker and the load
generator. A figure is the median of the rounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from benchmarks.bench_kafka_latency import say, titled
from benchmarks.bench_kafka_throughput import REDUCED
from benchmarks.peers.start import peer
from jobs.config import Settings
from jobs.load.bench import Traffic, fill, supply
from jobs.load.clients import connection
from jobs.load.generator import Generator, Load, Target
from jobs.load.report import summary, table
from jobs.load.rounds import REPEATS, Series, once
from jobs.load.stand import APPENDED, echo_topics, job_topics, own_broker, own_echo, own_jobs
from jobs.load.topics import made
from streams.errors import InputError
from streams.topics import TRANSACTIONS

RUNS, RIVAL_RUNS = 7, 3
"""Of those that are near each other, and of the others."""
HISTORY = 5_000
BYTES = 190
"""About what all of them emit for an event."""
NEAR = ("headrace, reduced", "echo", "Quix Streams")
CONTENDERS = (*NEAR, "PyFlink", "Flink SQL", "Faust")
LOADS = (Load(rate=1_000, seconds=5, wait=3), Load(rate=5_000, seconds=5, wait=3))


def run() -> dict[str, Any]:
    """Milliseconds by load and contender; what a contender could not do is said in `failed`."""
    series = {titled(load): {name: Series() for name in CONTENDERS} for load in LOADS}
    failed: dict[str, str] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="headrace-bench-")))
        settings, processes = stack.enter_context(own_broker(folder, Settings(pipeline=REDUCED)))
        for place in range(RUNS):
            for name in CONTENDERS if place < RIVAL_RUNS else NEAR:
                slug = f"{place}-{name.replace(' ', '-').replace(',', '')}"
                own = replace(settings, prefix=f"{slug}.", state=folder / slug)
                try:
                    with started(name, own, processes) as (generator, target):
                        for load in LOADS:
                            measure(generator, target, load, series[titled(load)][name])
                except InputError as error:
                    failed[name] = str(error)
    found = {
        title: summary({name: each for name, each in loaded.items() if each.runs})
        for title, loaded in series.items()
    }
    return {"loads": found, "failed": failed}


def measure(generator: Generator, target: Target, load: Load, series: Series) -> None:
    """One more run in the series; those whose sender was late are repeated."""
    for left in reversed(range(REPEATS + 1)):
        measured = once(generator, target, load)
        say(target.name, measured)
        if not measured.late or not left:
            series.runs.append(measured)
            return
        series.repeated += 1


@contextmanager
def started(
    name: str, settings: Settings, processes: Mapping[str, int]
) -> Iterator[tuple[Generator, Target]]:
    """The contender, started and warm."""
    with ExitStack() as stack:
        if name == "echo":
            stack.enter_context(made(connection(settings), echo_topics(settings)))
            target = stack.enter_context(own_echo(settings.state, settings, processes, BYTES))
        elif name == "headrace, reduced":
            stack.enter_context(made(connection(settings), job_topics(settings)))
            jobs = own_jobs(settings.state, settings, processes, learns=False)
            target = replace(stack.enter_context(jobs), name=name)
        else:
            source = settings.topic(TRANSACTIONS)
            stack.enter_context(made(connection(settings), {source: APPENDED}))
            target = stack.enter_context(peer(name, settings, source, processes))
        traffic = Traffic()
        generator = stack.enter_context(Generator(supply(settings, target.events, traffic)))
        generator.settle(target)
        fill(generator, target, HISTORY)
        yield generator, target


def show(result: dict[str, Any]) -> None:
    """Print the result of `run`."""
    console = Console(width=130)
    for title, found in result["loads"].items():
        console.print(table(found, title))
    for name, why in result["failed"].items():
        console.print(f"{name}: {why}", highlight=False)


if __name__ == "__main__":
    show(run())
