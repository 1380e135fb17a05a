"""How fast a job works off a topic that is full when it starts, by the stamps of its output."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import orjson

from benchmarks.peers.job import DAYS
from benchmarks.windows_pipeline import features
from jobs.config import Settings
from jobs.load.clients import connection, consumer
from jobs.load.generator import Target
from jobs.load.sender import Order, Sender, Supply
from jobs.load.usage import usage
from streams.errors import InputError
from streams.kafka.library import Partition
from streams.schema import DAY

FIRST_S, LOOK_S = 180.0, 0.05
SETTLED = 0.3
"""Share of the output that is made before the clock starts."""
MANY = 10_000
NAMES = tuple(features)


class Rate(NamedTuple):
    """Events a second, and what share of a core each process took meanwhile."""

    events_per_s: float
    cpu: Mapping[str, float]
    bytes: float
    """Mean length of a record of output."""
    cpu_us: Mapping[str, float]
    """Microseconds of processor time that an event cost each process, of those that came out while
    it was looked at."""


def fill(supply: Supply, events: str, n: int, labels: str = "") -> None:
    """Put n events into a topic, and into another the labels that become known meanwhile."""
    begin = time.monotonic_ns()
    sent = Sender(supply)(Order(events, labels, begin, np.zeros(n, np.int64)))
    if sent.unsent:
        raise InputError(f"{events}: wanted {n} events in the topic, {sent.unsent} were not taken")


def rate(settings: Settings, target: Target, events: int, seconds: float, each: int = 1) -> Rate:
    """The rate at which a job that has just been started makes its output.

    Ends when all its output is there, `each` records for an event, or so long after the first.
    """
    asked = consumer(connection(settings))
    place = Partition(target.predictions, 0)
    try:
        made, deadline = 0, time.monotonic() + FIRST_S
        while not made:
            made = asked.get_watermark_offsets(place, timeout=10)[1]
            if time.monotonic() > deadline:
                raise InputError(f"{target.name}: wanted output, got none for {FIRST_S:g} s")
            time.sleep(LOOK_S)
        before, began = {n: usage(p) for n, p in target.processes.items()}, time.monotonic()
        already = made
        while made < each * events and time.monotonic() < began + seconds:
            time.sleep(LOOK_S)
            made = asked.get_watermark_offsets(place, timeout=10)[1]
        took = time.monotonic() - began
        spent = {
            name: usage(pid).cpu_seconds - before[name].cpu_seconds
            for name, pid in target.processes.items()
        }
        cpu = {name: seconds / took for name, seconds in spent.items()}
        done = max(made - already, 1) / each
        cpu_us = {name: seconds / done * 1e6 for name, seconds in spent.items()}
        first, last = int(made * SETTLED), made - 1
        (started, _), (ended, size) = (_stamp(asked, target, at) for at in (first, last))
        events_per_s = (last - first) / each / max(ended - started, 1) * 1000
        return Rate(events_per_s, cpu, size, cpu_us)
    finally:
        asked.close()


def rates(settings: Settings, target: Target, ends: Sequence[int]) -> list[float]:
    """Events a second between each two of these places in a job's output, once it is all there."""
    asked = consumer(connection(settings))
    try:
        there(asked, target, ends[-1])
        stamps = [_stamp(asked, target, end - 1)[0] for end in ends]
        return [
            (end - first) / max(ended - started, 1) * 1000
            for (first, started), (end, ended) in pairwise(zip(ends, stamps, strict=True))
        ]
    finally:
        asked.close()


def there(asked: Any, target: Target, count: int) -> None:
    """Return once there are so many records of output. Raises InputError where none is made."""
    made, deadline = 0, time.monotonic() + FIRST_S
    while made < count:
        before = made
        made = asked.get_watermark_offsets(Partition(target.predictions, 0), timeout=10)[1]
        if made > before:
            deadline = time.monotonic() + FIRST_S
        if time.monotonic() > deadline:
            raise InputError(f"{target.name}: wanted {count} records of output, got {made}")
        time.sleep(LOOK_S)


def _stamp(reader: Any, target: Target, offset: int) -> tuple[int, int]:
    """When the record at an offset was appended, milliseconds, and its length."""
    reader.assign([Partition(target.predictions, 0, offset)])
    message = reader.poll(10)
    if message is None or message.error():
        raise InputError(f"{target.predictions}: wanted the record at {offset}, got {message}")
    return message.timestamp()[1], len(message.value())


def differing(settings: Settings, target: Target, limit: int) -> tuple[int, int]:
    """Of how many events the features differ from the exact ones, and how many were looked at."""
    exact = _exact(_read(settings, target.events, limit))
    found: dict[str, dict[str, float]] = {}
    for value in _read(settings, target.predictions, 3 * limit):
        record = orjson.loads(value)
        if isinstance(record.get("features"), list):
            record |= dict(zip(NAMES, record["features"], strict=True))
        found.setdefault(record["id"], {}).update(
            {name: record[name] for name in NAMES if name in record}
        )
    both = [(found[ident], made) for ident, made in exact.items() if ident in found]
    wrong = sum(
        any(abs(theirs.get(name, np.inf) - value) > 1e-6 for name, value in made.items())
        for theirs, made in both
    )
    return wrong, len(both)


def _exact(values: list[bytes]) -> dict[str, dict[str, float]]:
    """Count and mean over (t − w, t] of each event's customer, in the order of the events."""
    past: dict[str, list[tuple[int, int]]] = {}
    made: dict[str, dict[str, float]] = {}
    for value in values:
        event = orjson.loads(value)
        now = int(np.datetime64(event["time"][:-1], "us").astype(np.int64))
        mine = past.setdefault(event["customer"], [])
        mine.append((now, round(event["amount"] * 100)))
        row = made[event["id"]] = {}
        for days in DAYS:
            inside = [cents for time, cents in mine if time > now - days * DAY]
            row[f"count_{days}d"] = float(len(inside))
            row[f"mean_{days}d"] = sum(inside) / len(inside) / 100
    return made


def _read(settings: Settings, topic: str, limit: int) -> list[bytes]:
    """The values of a topic's first records."""
    reader = consumer(connection(settings))
    try:
        end = reader.get_watermark_offsets(Partition(topic, 0), timeout=10)[1]
        reader.assign([Partition(topic, 0, 0)])
        values: list[bytes] = []
        while len(values) < min(end, limit):
            values += [each.value() for each in reader.consume(MANY, 1.0) if not each.error()]
        return values[:limit]
    finally:
        reader.close()
