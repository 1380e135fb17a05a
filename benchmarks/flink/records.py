"""What long records cost: a record is written to the state whole, after every batch it is in."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Any

from benchmarks.catching_up import fill, there
from benchmarks.flink.own import Stand, own_flink, started
from jobs.flink_host.order import FlinkOrder
from jobs.load.bench import Traffic, supply
from jobs.load.clients import connection, consumer
from jobs.load.generator import Generator, Load, Target
from jobs.load.results import Measured, medians
from jobs.load.rounds import REPEATS, once
from jobs.load.stand import job_topics
from jobs.load.topics import made
from streams.topics import TRANSACTIONS

EVENTS = 150_000
KEYS = (2_500, 250, 50)
"""Of each entity, from one job to the next: the fewer, the longer their records are."""
LOADS = (Load(rate=1_000, seconds=5, wait=3), Load(rate=5_000, seconds=5, wait=3))


def records(stand: Stand, runs: int) -> dict[str, Any]:
    """By load and by events in a record: milliseconds, and the TaskManager's share of a core."""
    found: dict[str, dict[str, list[Measured]]] = {f"{load.rate:.0f}": {} for load in LOADS}
    for keys in KEYS:
        own = stand.apart(f"records-{keys}")
        traffic = Traffic(customers=keys, terminals=keys)
        source, long = own.topic(TRANSACTIONS), EVENTS // keys
        with ExitStack() as stack:
            stack.enter_context(made(connection(own), job_topics(own)))
            fill(supply(own, source, traffic), source, EVENTS)
            flink = stack.enter_context(own_flink(own.state))
            name, order = f"{long:,} events a record", FlinkOrder(apart=True)
            job = started(flink, own, stand.processes, name, order)
            with closing(consumer(connection(own))) as asked:
                there(asked, job.target, EVENTS)
            generator = stack.enter_context(Generator(supply(own, source, traffic)))
            for load in LOADS * runs:
                measured = _once(generator, job.target, load)
                told = "  ".join(f"{at} {ms:.1f}" for at, ms in measured.latency_ms.items())
                print(f"{job.target.name}, {load.rate:,.0f}/s: {told} ms", flush=True)
                found[f"{load.rate:.0f}"].setdefault(f"{long}", []).append(measured)
    return {rate: {n: _row(each) for n, each in row.items()} for rate, row in found.items()}


def _once(generator: Generator, target: Target, load: Load) -> Measured:
    """A run; one whose sender was late is repeated."""
    measured = once(generator, target, load)
    for _ in range(REPEATS):
        if not measured.late:
            break
        measured = once(generator, target, load)
    return measured


def _row(runs: Sequence[Measured]) -> dict[str, Any]:
    used = [run.processes["taskmanager"]["cpu"] for run in runs]
    return {
        "latency_ms": medians(runs),
        "missing": sum(run.missing for run in runs),
        "cpu": statistics.median(used),
        "runs": len(runs),
    }
