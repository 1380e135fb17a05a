"""What `benchmarks.bench_flink` found, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from jobs.load.report import table

MB = 1e6


def shown(result: dict[str, Any]) -> Iterator[RenderableType]:
    """Tables of the parts that there are."""
    if "throughput" in result:
        yield _throughput(result["throughput"])
        yield _bytes(result["throughput"])
    for title, each in result.get("latency", {"loads": {}})["loads"].items():
        yield table(each, title)
    for name, why in result.get("latency", {"failed": {}})["failed"].items():
        yield f"{name}: {why}"
    if "keys" in result:
        yield _keys(result["keys"])
    if "records" in result:
        yield _records(result["records"])
    if "state" in result:
        yield _state(result["state"])


def _throughput(rows: dict[str, Any]) -> Table:
    found = _table(
        "On Flink: catching up on a filled topic, one partition",
        ("", "events/s", "range", "× PyFlink", "not exact", "CPU", "µs an event"),
    )
    for name, row in rows.items():
        found.add_row(
            name,
            f"{row['events_per_s']:,.0f}",
            f"{row['slowest']:,.0f}–{row['fastest']:,.0f}",
            f"{row['events_per_s'] / rows['PyFlink']['events_per_s']:.1f}",
            f"{row['differing']:,} of {row['compared']:,}" if "differing" in row else "",
            ", ".join(f"{process} {share:.0%}" for process, share in row["cpu"].items()),
            ", ".join(f"{process} {each:.1f}" for process, each in row["cpu_us"].items()),
        )
    return found


def _bytes(rows: dict[str, Any]) -> Table:
    ours = {name: row["bytes"] for name, row in rows.items() if row["bytes"]}
    names = list(dict.fromkeys(name for each in ours.values() for name in each))
    found = _table("Bytes an event, handed on by each operator and in the topics", ("", *names))
    for name, each in ours.items():
        found.add_row(name, *(f"{each[of]:,.0f}" if of in each else "" for of in names))
    return found


def _keys(rows: dict[str, Any]) -> Table:
    percentiles = list(next(iter(rows.values()))["neighbours_ms"])
    headings = ("keys", "events/s, catching up", *percentiles, "TaskManager")
    found = _table(
        "By how keys are drawn: one job; milliseconds at 2,000/s of all but the hot key", headings
    )
    for name, row in rows.items():
        waited = (f"{row['neighbours_ms'][each]:.2f}" for each in percentiles)
        found.add_row(name, f"{row['events_per_s']:,.0f}", *waited, f"{row['cpu']:.0%}")
    return found


def _records(loads: dict[str, Any]) -> Table:
    found = _table(
        "By how many events a record holds; milliseconds",
        ("", "events/s", "p50", "p99", "missing", "TaskManager"),
    )
    for rate, rows in loads.items():
        for n, row in rows.items():
            waited = (f"{row['latency_ms'][each]:,.1f}" for each in ("p50", "p99"))
            found.add_row(n, rate, *waited, f"{row['missing']:,}", f"{row['cpu']:.0%}")
    return found


def _state(found: dict[str, Any]) -> Table:
    made = Table("what", title="State of 100,000 keys", title_justify="left")
    for heading in ("seconds", "MB"):
        made.add_column(heading, justify="right")
    for name, title in (("full", "full checkpoint"), ("under_load", "incremental, under load")):
        row = found[name]
        made.add_row(title, f"{row['seconds']:.2f}", f"{row['bytes'] / MB:,.1f}")
    row = found["savepoint"]
    made.add_row("stop with a savepoint", f"{row['seconds']:.2f}", f"{row['bytes'] / MB:,.1f}")
    for operator, count in found["kept"].items():
        each = row["operators"][operator]
        made.add_row(f"  {operator}, {each / count:,.0f} bytes each", "", f"{each / MB:,.1f}")
    for name, took in found["resumed"].items():
        made.add_row(f"at work again from a {name}", f"{took['at_work_s']:.1f}", "")
        made.add_row("  its first prediction", f"{took['predicts_s']:.1f}", "")
    for name, held in found["resident"].items():
        made.add_row(f"memory of the TaskManager, {name}", "", f"{held / MB:,.0f}")
    return made


def _table(title: str, headings: tuple[str, ...]) -> Table:
    made = Table(title=title, title_justify="left")
    for heading in headings:
        left = heading in {"", "keys", "CPU", "µs an event"}
        made.add_column(heading, justify="left" if left else "right")
    return made
