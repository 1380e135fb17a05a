"""What watching for drift costs the loop, and where.

Run as `python -m benchmarks.run --only watch`, or as `python -m benchmarks.bench_watch`.

The shipped pipeline over the Handbook's data where HEADRACE_DATA names their folder, else over
simulated traffic: the loop of `benchmarks.bench_loop` on one core, watched and not, in turn, after
a short run of each that warms up. Of each the median rate by processor time; the cost is the median
over pairs of runs, one after the other. Then once with no monitor, and with each of them alone.
Monitors work by the bucket, so that events pay more for it where an hour has few: all is measured
again over the same transactions in a tenth of the time, of ten times as many customers and
terminals.
"""

from __future__ import annotations

import os
import shutil
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
from streams.schema import DAY

RUNS = 5
DENSITIES = (1, 10)
"""How much denser than they are transactions are taken as well."""
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


def denser(of: Transactions, times: int) -> Transactions:
    """The same in a fraction of the time, as of so many times as many customers and terminals."""
    turn = (of.time - of.time[0]) // DAY % times
    return replace(
        of,
        time=of.time[0] + (of.time - of.time[0]) // times,
        customer=of.customer * times + turn,
        terminal=of.terminal * times + turn,
    )


def run() -> dict[str, Any]:
    """Of each density the rates, the cost in per cent, and what each monitor adds."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    transactions = Transactions.at_hand()
    days = (transactions.time[-1] - transactions.time[0]) / DAY
    return {
        "transactions": transactions.source,
        "events": len(transactions),
        "densities": {
            f"{times * len(transactions) / days:,.0f} a day": cost(denser(transactions, times))
            for times in DENSITIES
        },
    }


def cost(transactions: Transactions) -> dict[str, Any]:
    """Of the loop over these."""
    n = len(transactions)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, first = folder / "whole.parquet", folder / "first.parquet"
        pq.write_table(table_of(transactions), whole)
        pq.write_table(table_of(transactions.first(n // 8)), first)
        outs = (folder / f"run{number}" for number in range(1000))

        def rate(which: Pipeline) -> float:
            out = next(outs)
            seconds = timed(ours, n, which, whole, out).seconds
            if which is pipeline:
                alarms.append(len(alarms_in(out / DRIFT)))
            shutil.rmtree(out)
            return n / seconds

        alarms: list[int] = []
        for each in PIPELINES.values():
            ours(each, first, next(outs))
        pairs = list(alternating(rate))
        apart = {name: rate(which) for name, which in each_monitor().items()}
    watched, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {
        "watched_events_per_s": watched,
        "not_watched_events_per_s": bare,
        "cost_percent": statistics.median(100 * (1 - one / other) for one, other in pairs),
        "us_per_event": 1e6 / watched - 1e6 / bare,
        "alarms": alarms[0],
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
    for heading in ("events", "not watched", "watched", "us an event", "cost", "alarms"):
        made.add_column(heading, justify="right")
    for density, row in result["densities"].items():
        rates = (f"{row[f'{name}_events_per_s']:,.0f}/s" for name in ("not_watched", "watched"))
        spent = f"{row['us_per_event']:.3f}", f"{row['cost_percent']:.1f} %"
        made.add_row(density, *rates, *spent, f"{row['alarms']:,}")
    console = Console(width=110)
    console.print(made)
    for density, row in result["densities"].items():
        each = row["by_monitor_us_per_event"].items()
        console.print(
            f"{density}, us an event of one alone: "
            + ", ".join(f"{name} {more:.3f}" for name, more in each),
            highlight=False,
        )
    console.print(f"wanted: a cost of at most {MOST:.0f} %", highlight=False)


if __name__ == "__main__":
    show(run())
