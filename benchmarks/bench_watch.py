"""What watching for drift costs the loop, and where.

Run as `python -m benchmarks.run --only watch`, or as `python -m benchmarks.bench_watch`.

The shipped pipeline over the Handbook's data where HEADRACE_DATA names their folder, else over
simulated traffic: the loop of `benchmarks.bench_loop` on one core, watched and not, in turn, after
a short run of each that warms up. Of each the median rate by processor time; the cost is the median
over pairs of runs, one after the other. Then once with no monitor, and with each of them alone.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.bench_loop import ours, table_of, timed
from benchmarks.transactions import Transactions
from jobs.alarms import DRIFT, alarms_in
from jobs.definition import Pipeline
from jobs.fraud import pipeline

RUNS = 5
MOST = 10.0
"""Per cent of the loop's throughput that watching may cost."""
PIPELINES = {"watched": pipeline, "not watched": replace(pipeline, watch=None)}


def each_monitor() -> dict[str, Pipeline]:
    """The pipeline watched by one of its monitors at a time."""
    watch = pipeline.watch
    monitors = watch.monitors if watch else ()
    alone = {type(each).__name__.lower(): (each,) for each in monitors}
    return {
        name: replace(pipeline, watch=watch and replace(watch, monitors=some))
        for name, some in {"buckets": (), **alone}.items()
    }


def run() -> dict[str, Any]:
    """Rates, the cost in per cent, and what each monitor adds."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    transactions = Transactions.at_hand()
    n = len(transactions)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, first = folder / "whole.parquet", folder / "first.parquet"
        pq.write_table(table_of(transactions), whole)
        pq.write_table(table_of(transactions.first(n // 8)), first)
        outs = (folder / f"run{number}" for number in range(1000))

        def rate(which: Pipeline) -> float:
            return n / timed(ours, n, which, whole, next(outs)).seconds

        for each in PIPELINES.values():
            ours(each, first, next(outs))
        pairs = list(alternating(rate))
        out = next(outs)
        ours(pipeline, whole, out)
        alarms = len(alarms_in(out / DRIFT))
        apart = {name: rate(which) for name, which in each_monitor().items()}
    watched, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    cost = statistics.median(100 * (1 - one / other) for one, other in pairs)
    return {
        "transactions": transactions.source,
        "events": n,
        "watched_events_per_s": watched,
        "not_watched_events_per_s": bare,
        "cost_percent": cost,
        "us_per_event": 1e6 / watched - 1e6 / bare,
        "alarms": alarms,
        "by_monitor_us_per_event": {name: 1e6 / each - 1e6 / bare for name, each in apart.items()},
    }


def alternating(rate: Any) -> Iterator[tuple[float, float]]:
    """Rates watched and not, in pairs that begin with the one and the other in turn."""
    for number in range(RUNS):
        order = [*PIPELINES.items()][:: -1 if number % 2 else 1]
        found = {name: rate(which) for name, which in order}
        yield found["watched"], found["not watched"]


def show(result: dict[str, Any]) -> None:
    """Print the result of `run`."""
    made = Table(title=f"watching, {result['events']:,} {result['transactions']} transactions")
    for heading in ("loop", "events/s", "us an event more"):
        made.add_column(heading, justify="left" if heading == "loop" else "right")
    made.add_row("not watched", f"{result['not_watched_events_per_s']:,.0f}", "")
    watched = f"{result['watched_events_per_s']:,.0f}"
    made.add_row("watched", watched, f"{result['us_per_event']:.3f}")
    for name, more in result["by_monitor_us_per_event"].items():
        made.add_row(f"{name} alone", "", f"{more:.3f}")
    console = Console(width=100)
    console.print(made)
    console.print(
        f"cost {result['cost_percent']:.1f} % of the throughput (at most {MOST:.0f}), "
        f"{result['alarms']} alarms",
        highlight=False,
    )


if __name__ == "__main__":
    show(run())
