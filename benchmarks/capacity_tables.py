"""What `benchmarks.scale` prints: tables in Markdown, which a terminal shows as well."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.capacity import (
    INDEX,
    MB,
    ONE_OF_MANY,
    Measured,
    Task,
    Wanted,
    kept,
    needs,
    record_bytes,
    size_of,
)
from jobs.definition import Pipeline
from jobs.flink_host.order import FlinkOrder
from operators.ring import CAP

Row = Sequence[str]
SHOWN = ("p50", "p99", "p99.9")


def capacity(measured: Measured, wanted: Wanted, task: Task, pipeline: Pipeline) -> str:
    """Resource by resource, what decides first; and what follows for the job as a whole."""
    found, state = needs(measured, wanted, task, pipeline), kept(measured, wanted, pipeline)
    tasks = max(math.ceil(found[0].tasks), 1)
    lanes = max(FlinkOrder().lanes, 1 << (tasks - 1).bit_length())
    peak = wanted.rate * wanted.peak
    entities = pipeline.plan().entities
    fullest = max(record_bytes(each, int(each.shape[CAP])) for each in entities)
    busy_us = measured.cpu_us["taskmanager"] + measured.longer_us(state.written)
    resources = [(each.what, each.whole, each.each, f"{math.ceil(each.tasks):,}") for each in found]
    facts = [
        ("asks for most, breaks first", found[0].what),
        ("tasks, each the one slot of a TaskManager", f"{tasks:,}"),
        ("`--lanes`, and partitions of `transactions`", f"{lanes:,}"),
        ("cores that TaskManagers keep busy at the peak", f"{peak * busy_us / 1e6:,.1f}"),
        (
            "cores that brokers keep busy, without replicas",
            f"{peak * measured.cpu_us['broker'] / 1e6:,.1f}",
        ),
        (
            "through Kafka at the peak, in and out",
            f"{size_of(peak * measured.taken_in)}/s, {size_of(peak * measured.put_out)}/s",
        ),
        ("ids remembered", f"{state.ids:,.0f}"),
        ("events in the record of a key", _events(state.events)),
        ("key records in the state", size_of(state.records)),
        ("the index in the state", size_of(state.ids_bytes)),
        (
            "state of one task",
            size_of((state.records + state.ids_bytes) * measured.amplified / tasks),
        ),
        ("which one task writes for a checkpoint", size_of(state.changed / tasks)),
        ("what a key at its cap has written after a batch it is in", size_of(fullest)),
    ]
    return "\n\n".join(
        [table(("resource", "all of it", "one task gives", "tasks"), resources), table(None, facts)]
    )


def _events(events: Mapping[str, float]) -> str:
    return ", ".join(f"{count:,.0f} of a {key}" for key, count in events.items())


def figures(measured: Measured, found: Mapping[str, Any]) -> str:
    """What was measured, and what follows from it for one event, one key and one id."""
    rows = [*_of_an_event(measured, found["throughput"][ONE_OF_MANY]), *_of_state(found["state"])]
    tables = [table(("what", "measured"), rows), _keys(found["keys"])]
    tables += [_records(found["records"])] if "records" in found else []
    return "\n\n".join(tables)


def _of_an_event(measured: Measured, row: Mapping[str, Any]) -> Iterator[Row]:
    yield "one task flat out, the broker beside it", f"{measured.events_per_s:,.0f} events/s"
    for process, spent in measured.cpu_us.items():
        yield f"processor, {process}", f"{spent:,.1f} µs an event"
    for name, count in row["bytes"].items():
        where = (
            f"`{name}`, in its topic"
            if name in {"transactions", "predictions"}
            else f"{name}, to the next"
        )
        yield where, f"{count:,.0f} bytes an event"


def _of_state(state: Mapping[str, Any]) -> Iterator[Row]:
    sizes, kept_ = state["savepoint"]["operators"], state["kept"]
    for name, count in kept_.items():
        each = f"{sizes[name] / count:,.0f} bytes"
        what = "id" if name == INDEX else f"key of {kept_[INDEX] / count:,.0f} events"
        yield f"state of {name}", f"{each}, of each {what}"
    for name, title in (("full", "full checkpoint"), ("under_load", "incremental checkpoint")):
        row = state[name]
        told = f"{row['seconds']:.2f} s, {row['bytes'] / MB:,.0f} MB"
        if name == "under_load":
            told += f": {row['every_s']:g} s of {row['rate']:,.0f} events/s, which go on"
        yield title, told
    row = state["savepoint"]
    yield "stop with a savepoint", f"{row['seconds']:.1f} s, {row['bytes'] / MB:,.0f} MB"
    for name, row in state["resumed"].items():
        yield (
            f"go on from a {name}",
            f"at work after {row['at_work_s']:.1f} s, predicts after {row['predicts_s']:.1f} s",
        )
    for name, held in state["resident"].items():
        yield f"memory of the TaskManager, {name}", f"{held / MB:,.0f} MB"


def _keys(keys: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            f"{row['events_per_s']:,.0f}",
            *(f"{row['neighbours_ms'][each]:.1f}" for each in SHOWN),
            f"{row['cpu']:.2f}",
        )
        for name, row in keys.items()
    ]
    return table(("keys", "events/s, catching up", *SHOWN, "TaskManager, cores"), rows)


def _records(loads: Mapping[str, Any]) -> str:
    rows = [
        (f"{float(n):,.0f}", rate, *(f"{row['latency_ms'][each]:,.1f}" for each in SHOWN),
         f"{row['missing']:,}", f"{row['cpu']:.2f}")
        for rate, found in loads.items()
        for n, row in found.items()
    ]  # fmt: skip
    head = ("events in a record", "events/s", *SHOWN, "missing", "TaskManager, cores")
    return table(head, rows)


def table(head: Row | None, rows: Sequence[Row]) -> str:
    """Rows in Markdown, all but the first column to the right if there is a head."""
    width = len(rows[0])
    lines = [head or [""] * width, ["---", *["---:" if head else "---"] * (width - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
