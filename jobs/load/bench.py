"""`headrace bench`: what is measured is opened, filled with history, measured, and reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from jobs.clients.simulated import beginning
from jobs.config import Settings
from jobs.load.clients import connection
from jobs.load.generator import Generator, Load, Target
from jobs.load.results import Measured
from jobs.load.rounds import Series, alternate
from jobs.load.sender import Supply
from jobs.load.stand import echo_topics, job_topics, own_broker, own_echo, own_jobs
from jobs.load.swapper import Swapper
from jobs.load.topics import made
from jobs.load.traffic import CUSTOMERS, TERMINALS, Keys
from jobs.load_pipeline import load_pipeline
from streams.simulation.traffic import moment_us
from streams.topics import LABELS, PREDICTIONS, TRANSACTIONS

BEGIN = "2020-01-01"
"""The event time that traffic begins at where the topic holds none."""
PER_DAY = 10_000.0
FILL_PER_SECOND = 5_000
"""A target that works history off more slowly than this is given up."""


class Traffic(NamedTuple):
    """What kind of events are sent."""

    keys: Keys = "uniform"
    per_day: float = PER_DAY
    """Events to a day of event time."""
    history: int = 0
    """Events sent before anything is measured, as fast as they go."""
    customers: int = CUSTOMERS
    terminals: int = TERMINALS


class Bench(NamedTuple):
    """What is ready to be measured."""

    generator: Generator
    headrace: Target
    echo: Target
    settings: Settings


def bench_load(
    settings: Settings,
    load: Load,
    traffic: Traffic,
    *,
    runs: int,
    fresh: bool,
    swap_seconds: float = 0.0,
    told: Callable[[str, Measured], None],
) -> dict[str, Series]:
    """Runs of the deployment and of the echo in turn, by name.

    With `swap_seconds` there is no learn job, and runs in which the score job is given a version so
    often alternate with runs in which it is not.
    """
    with opened(settings, traffic, fresh=fresh, learns=not swap_seconds) as ready:
        targets = [ready.headrace, ready.echo]
        if swap_seconds:
            targets.insert(1, swapping(ready, swap_seconds))
        return alternate(ready.generator, targets, load, runs, told)


@contextmanager
def opened(
    settings: Settings, traffic: Traffic, *, fresh: bool, learns: bool = True
) -> Iterator[Bench]:
    """The deployment of the settings or, with `fresh`, one of its own on this machine; the echo.

    The echo emits records of the mean size of the deployment's predictions.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="headrace-bench-")))
        processes: dict[str, int] = {}
        if fresh:
            settings = replace(settings, state=folder / "state")
            settings, processes = stack.enter_context(own_broker(folder, settings))
            stack.enter_context(made(connection(settings), job_topics(settings)))
            headrace = stack.enter_context(own_jobs(folder, settings, processes, learns=learns))
        else:
            headrace = deployed(settings)
        generator = stack.enter_context(Generator(supply(settings, headrace.events, traffic)))
        generator.settle(headrace)
        size = round(fill(generator, headrace, traffic.history))
        stack.enter_context(made(connection(settings), echo_topics(settings)))
        echo = stack.enter_context(own_echo(folder, settings, processes, size))
        yield Bench(generator, headrace, echo, settings)


def swapping(ready: Bench, seconds: float, *, decides: bool = False) -> Target:
    """The same deployment, given a new version of its model so often in each run.

    With `decides` what scores is decided anew each time as well: promoted, or gone back to.
    """
    swapper = Swapper(load_pipeline(ready.settings.pipeline), ready.settings, decides=decides)
    name = f"{'a decision' if decides else 'a swap'} every {seconds:g} s"
    return replace(ready.headrace, name=name, meanwhile=partial(swapper.every, seconds))


def deployed(settings: Settings) -> Target:
    """What runs already under these settings; its processes may be anywhere."""
    return Target(
        name="headrace",
        events=settings.topic(TRANSACTIONS),
        labels=settings.topic(LABELS),
        predictions=settings.topic(PREDICTIONS),
        processes={},
    )


def supply(settings: Settings, events: str, traffic: Traffic) -> Supply:
    """Events for a topic that go on after what it holds."""
    after = beginning(settings.broker(), events)
    return Supply(
        connection=connection(settings),
        linger_ms=settings.linger_ms,
        run=time.time_ns() // 1_000_000_000,
        keys=traffic.keys,
        start_us=max(after.time_us, moment_us(BEGIN)),
        per_day=traffic.per_day,
        customers=traffic.customers,
        terminals=traffic.terminals,
    )


def fill(generator: Generator, target: Target, events: int) -> float:
    """Send so many events at once, and at least one; the mean length of their predictions."""
    events = max(events, 1)
    wait = 60 + events / FILL_PER_SECOND
    return generator.run(target, Load(rate=events, seconds=1, warm=0, wait=wait)).bytes
