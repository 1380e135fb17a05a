"""How keys are drawn: evenly, by Zipf's law, or with one that is hot. One job sees them in turn."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from benchmarks.catching_up import rates
from benchmarks.flink.own import OnFlink, Stand, own_flink, started
from jobs.load.bench import Traffic, supply
from jobs.load.clients import connection
from jobs.load.generator import Generator, Load, Observed, Target
from jobs.load.results import LATE_MS, PERCENTILES, counted, percentiles
from jobs.load.rounds import REPEATS
from jobs.load.sender import AHEAD, Order, Sender
from jobs.load.stand import job_topics
from jobs.load.topics import made
from jobs.load.traffic import Keys, is_hot
from streams.topics import TRANSACTIONS

KINDS: tuple[Keys, ...] = ("uniform", "zipf", "hot")
EVENTS = 500 * AHEAD
"""Of each kind, in a topic that is worked off."""
FIRST = 1_600 * AHEAD
"""Events before, that do not count: they bring the hot key up to its cap."""
LOAD = Load(rate=2_000, seconds=5, wait=3)


class Waited(NamedTuple):
    """Milliseconds by percentile, of a kind's events and of its neighbours alone."""

    all: dict[str, float]
    neighbours: dict[str, float]
    """Of the events that are not the hot key's; of all where none is hot."""
    cpu: float
    """Of the TaskManager, share of a core."""


def keys(stand: Stand, runs: int) -> dict[str, Any]:
    """By kind: events a second, catching up, and milliseconds at a steady rate, in one job."""
    rate: dict[str, list[float]] = defaultdict(list)
    waited: dict[str, list[Waited]] = defaultdict(list)
    for run in range(runs):
        order = [KINDS[(run + place) % len(KINDS)] for place in range(len(KINDS))]
        own = stand.apart(f"{run}-keys")
        source = own.topic(TRANSACTIONS)
        with ExitStack() as stack:
            stack.enter_context(made(connection(own), job_topics(own)))
            given = supply(own, source, Traffic())
            _fill(Sender(given), source, [("hot", FIRST), *((kind, EVENTS) for kind in order)])
            flink = stack.enter_context(own_flink(own.state))
            job = started(flink, own, stand.processes, "ours, whole")
            ends = [FIRST + EVENTS * place for place in range(len(KINDS) + 1)]
            for kind, found in zip(order, rates(own, job.target, ends), strict=True):
                rate[kind].append(found)
                print(f"{kind} keys: {found:,.0f} events/s", flush=True)
            given = supply(own, source, Traffic())
            generator = stack.enter_context(Generator(given))
            for kind in order:
                waited[kind].append(_wait(generator, job, kind))
    return {kind: _row(rate[kind], waited[kind]) for kind in KINDS}


def _fill(sender: Sender, source: str, parts: Sequence[tuple[Keys, int]]) -> None:
    for kind, count in parts:
        begin = time.monotonic_ns()
        sender(Order(source, "", begin, np.zeros(count, np.int64), kind))


def _wait(generator: Generator, job: OnFlink, kind: Keys) -> Waited:
    """A run of this kind; one whose sender was late is repeated."""
    load = replace(LOAD, keys=kind)
    found = _observed(generator, job.target, load)
    for _ in range(REPEATS):
        if found.late_ns.max() / 1e6 <= LATE_MS:
            break
        found = _observed(generator, job.target, load)
    numbers = found.first + np.arange(len(found.latency_ns))
    came = found.latency_ns >= 0
    beside = came & ~(is_hot(numbers) & (kind == "hot"))
    each = [percentiles(counted(found.latency_ns[which] // 1000)) for which in (came, beside)]
    told = "  ".join(f"{name} {value:.2f}" for name, value in each[1].items())
    print(f"{kind + ' keys':>24}  {told} ms, neighbours", flush=True)
    return Waited(each[0], each[1], found.usage["taskmanager"][0])


def _observed(generator: Generator, target: Target, load: Load) -> Observed:
    generator.settle(target)
    return generator.run(target, load)


def _row(rate: Sequence[float], waited: Sequence[Waited]) -> dict[str, Any]:
    return {
        "events_per_s": statistics.median(rate),
        "runs": len(rate),
        "latency_ms": _medians([each.all for each in waited]),
        "neighbours_ms": _medians([each.neighbours for each in waited]),
        "cpu": statistics.median(each.cpu for each in waited),
    }


def _medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in PERCENTILES}
