"""Catching up and waiting, beside the naive PyFlink job and Flink SQL; what an event costs."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from benchmarks.bench_kafka_latency import titled
from benchmarks.bench_kafka_peers import HISTORY, measure
from benchmarks.bench_kafka_throughput import REDUCED
from benchmarks.catching_up import Rate, differing, fill, rate
from benchmarks.flink.network import between, in_log
from benchmarks.flink.own import OnFlink, Stand, own_flink, started
from benchmarks.peers.start import PEERS, peer
from jobs.config import Settings
from jobs.flink_host.order import FlinkOrder
from jobs.load.bench import Traffic, supply
from jobs.load.bench import fill as warm_up
from jobs.load.clients import connection
from jobs.load.generator import Generator, Load, Target
from jobs.load.report import summary
from jobs.load.rounds import Series
from jobs.load.stand import job_topics
from jobs.load.topics import made
from jobs.load.traffic import CUSTOMERS, TERMINALS
from streams.errors import InputError
from streams.topics import LABELS, PREDICTIONS, TRANSACTIONS

SECONDS = 20.0
"""Ours is always done by then: what travelled is counted of all its events."""
TOPICS = (TRANSACTIONS, PREDICTIONS)
COMPARED = 20_000
LOADS = tuple(Load(rate=rate, seconds=30, warm=10, wait=3) for rate in (1_000, 5_000))
"""Everybody takes a checkpoint every 30 s, and has 10 s for Java to compile what it runs often."""


class Contender(NamedTuple):
    """What is measured, and on how much."""

    events: int
    pipeline: str = REDUCED
    tasks: int = 1
    changelog: bool = False
    apart: bool = False
    linger_ms: float = 1.0
    """How long its predictions wait for each other; the peers' wait as long."""


CONTENDERS = {
    "ours, reduced": Contender(400_000),
    "ours, reduced, apart": Contender(400_000, apart=True),
    "ours, reduced, 2 tasks": Contender(400_000, tasks=2),
    "PyFlink": Contender(200_000),
    "Flink SQL": Contender(300_000),
    "ours, whole": Contender(300_000, "fraud"),
    "ours, whole, apart": Contender(300_000, "fraud", apart=True),
    "ours, whole, 2 tasks": Contender(300_000, "fraud", 2),
}
WAITED_FOR = {
    "ours, reduced": Contender(0),
    "ours, reduced, changelog": Contender(0, changelog=True),
    "ours, reduced, changelog, no linger": Contender(0, changelog=True, linger_ms=0.0),
    "PyFlink": Contender(0),
    "ours, whole": Contender(0, "fraud"),
    "ours, whole, changelog": Contender(0, "fraud", changelog=True),
    "ours, whole, 2 tasks": Contender(0, "fraud", 2),
}


class Found(NamedTuple):
    """What one run of a contender showed."""

    rate: Rate
    differing: tuple[int, int] | None
    """Of how many events the features are not exact, and how many were looked at."""
    bytes: dict[str, float]
    """An event's, by the operator that sent them to the next and by topic; only of ours."""


def throughput(stand: Stand, runs: int) -> dict[str, Any]:
    """Events a second, CPU, features that are not exact, and bytes an event, by contender."""
    found: dict[str, list[Found]] = defaultdict(list)
    for run in range(runs):
        for name in CONTENDERS:
            each = _catch_up(stand, f"{run}-rate-{name}", name, compare=not run)
            found[name].append(each)
            print(f"{name}: {each.rate.events_per_s:,.0f} events/s", flush=True)
    return {name: _row(each) | _of_key(name) for name, each in found.items()}


def _catch_up(stand: Stand, slug: str, name: str, *, compare: bool) -> Found:
    contender = CONTENDERS[name]
    own = stand.apart(slug, contender.pipeline)
    source, whole = own.topic(TRANSACTIONS), contender.pipeline != REDUCED
    with made(connection(own), job_topics(own)):
        labels = own.topic(LABELS) if whole else ""
        fill(supply(own, source, Traffic()), source, contender.events, labels)
        with _started(name, contender, own, stand.processes) as (target, job):
            found = rate(own, target, contender.events, SECONDS)
            wrong = None
            if compare and not whole:
                wrong = differing(own, target, COMPARED)
            travelled: dict[str, int] = {}
            if job is not None:
                job.end()
                travelled = {topic: in_log(stand.folder, own.topic(topic)) for topic in TOPICS}
                if contender.apart or contender.tasks > 1:
                    travelled = between(job.cluster, job.job) | travelled
    return Found(found, wrong, {what: n / contender.events for what, n in travelled.items()})


def latency(stand: Stand, runs: int) -> dict[str, Any]:
    """Milliseconds by load and contender; why one could not be measured, in `failed`."""
    series = {titled(load): {name: Series() for name in WAITED_FOR} for load in LOADS}
    failed: dict[str, str] = {}
    for run in range(runs):
        for name, contender in WAITED_FOR.items():
            own = stand.apart(f"{run}-wait-{name}", contender.pipeline)
            try:
                with _warm(name, contender, own, stand.processes) as (generator, target):
                    for load in LOADS:
                        measure(generator, target, load, series[titled(load)][name])
            except InputError as error:
                failed[name] = str(error)
    loads = {
        title: summary({name: each for name, each in loaded.items() if each.runs})
        for title, loaded in series.items()
    }
    return {"loads": loads, "failed": failed}


@contextmanager
def _started(
    name: str, contender: Contender, settings: Settings, processes: Mapping[str, int]
) -> Iterator[tuple[Target, OnFlink | None]]:
    """A contender at work; if it is ours, its job."""
    if name in PEERS:
        with peer(name, settings, settings.topic(TRANSACTIONS), processes) as target:
            yield target, None
        return
    with own_flink(settings.state) as flink:
        changelog = (settings.state / "changelog").as_uri() if contender.changelog else ""
        order = FlinkOrder(parallelism=contender.tasks, changelog=changelog, apart=contender.apart)
        own = replace(settings, linger_ms=contender.linger_ms)
        job = started(flink, own, processes, name, order)
        yield job.target, job


@contextmanager
def _warm(
    name: str, contender: Contender, settings: Settings, processes: Mapping[str, int]
) -> Iterator[tuple[Generator, Target]]:
    """The contender, started and warm."""
    with ExitStack() as stack:
        stack.enter_context(made(connection(settings), job_topics(settings)))
        target, _ = stack.enter_context(_started(name, contender, settings, processes))
        generator = stack.enter_context(Generator(supply(settings, target.events, Traffic())))
        generator.settle(target)
        warm_up(generator, target, HISTORY)
        yield generator, target


def _of_key(name: str) -> dict[str, Any]:
    """How many events a key has at the end."""
    events = CONTENDERS[name].events
    return {"of_key": {"customer": events / CUSTOMERS, "terminal": events / TERMINALS}}


def _row(runs: list[Found]) -> dict[str, Any]:
    rates = [each.rate for each in runs]
    row: dict[str, Any] = {
        "events_per_s": statistics.median(each.events_per_s for each in rates),
        "slowest": min(each.events_per_s for each in rates),
        "fastest": max(each.events_per_s for each in rates),
        "runs": len(runs),
        "cpu": _medians([each.cpu for each in rates]),
        "cpu_us": _medians([each.cpu_us for each in rates]),
        "bytes": _medians([each.bytes for each in runs]),
        "prediction": rates[0].bytes,
    }
    wrong = runs[0].differing
    return row | ({"differing": wrong[0], "compared": wrong[1]} if wrong else {})


def _medians(runs: list[Mapping[str, float]] | list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in runs) for name in runs[0]}
