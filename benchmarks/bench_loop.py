"""The whole loop from Parquet to predictions, beside the same loop in Python with River.

Run as `python -m benchmarks.bench_loop`.

Read, find duplicates, make the inputs, score, keep what the score was made from, join the labels
that come 7 days later, judge, learn (a version every 1000 examples), write `predictions.parquet`;
three baselines are scored, learnt and judged beside the champion. On the Handbook's data where
HEADRACE_DATA names their folder, else on simulated traffic. One process pinned to one core; a rate
is events per second of processor time, all threads and the commits of state included, the median
of several runs after one that warms up, in batches of 65,536 rows. River's loop is timed on the
first rows only. Average precision is over the same transactions for both: those of the slice that
have matured.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.profiles import shares
from benchmarks.rivals.river_loop import COLUMNS, loop
from benchmarks.transactions import MATURITY, Transactions
from jobs.definition import Pipeline
from jobs.fraud import pipeline as full
from jobs.fraud import published, published_only, transaction
from jobs.local import LocalRun
from operators import metrics
from streams.sources import FileSource

RUNS = 5
SLICE = 400_000
BATCH = 65_536
inputs_only = Pipeline(
    name="published inputs",
    event=transaction,
    features=published,
    champion=published_only,
    amount="amount",
    every=1000,
)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a run took, and where its predictions are."""

    events: int
    seconds: float
    wall: float
    predictions: Path

    def row(self) -> dict[str, float]:
        """Rates per second of processor time and of the clock on the wall."""
        return {
            "events_per_s": self.events / self.seconds,
            "events_per_wall_s": self.events / self.wall,
        }


def table_of(of: Transactions) -> pa.Table:
    """The transactions as a file has them."""
    columns = of.ident, of.time, of.customer, of.terminal, of.cents / 100, of.fraud
    table = pa.table(dict(zip(COLUMNS, columns, strict=True)))
    return table.set_column(1, "time", table["time"].cast(pa.timestamp("us")))


def ours(pipeline: Pipeline, read: Path, out: Path) -> Path:
    """The loop; every run from nothing."""
    columns = {name: name for name in COLUMNS}
    source = FileSource([read], pipeline.event, columns, BATCH, label_delay_us=MATURITY)
    run = LocalRun(pipeline, source, out)
    for _ in run:
        pass
    return run.finish()


def theirs(read: Path, out: Path) -> Path:
    """River's loop."""
    out.mkdir()
    path = out / "predictions.parquet"
    loop(read, path)
    return path


def timed(work: Any, events: int, *arguments: Any) -> Taken:
    """One run."""
    wall, began = time.perf_counter(), time.process_time()
    path = work(*arguments)
    seconds, wall = time.process_time() - began, time.perf_counter() - wall
    return Taken(events, seconds, wall, path)


def average_precision(predictions: Path, of: Transactions) -> float:
    """Of the transactions whose label was known by the last one."""
    scores = pq.read_table(predictions, columns=["score"])["score"].to_numpy()
    matured = of.time < of.time[-1] - MATURITY
    label = of.fraud[matured].astype(np.int8)
    return metrics.average_precision(np.ascontiguousarray(scores[matured]), label)


def run() -> dict[str, Any]:
    """Rates, ratios and average precisions, and where the time goes."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    transactions = Transactions.at_hand()
    part = transactions.first(SLICE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, first = folder / "whole.parquet", folder / "first.parquet"
        pq.write_table(table_of(transactions), whole)
        pq.write_table(table_of(part), first)
        outs = (folder / f"run{number}" for number in range(1000))

        def median(pipeline: Pipeline, times: int) -> Taken:
            n = len(transactions)
            runs = [timed(ours, n, pipeline, whole, next(outs)) for _ in range(times)]
            return sorted(runs, key=lambda each: each.seconds)[times // 2]

        ours_first = timed(ours, len(part), inputs_only, first, next(outs))
        river = timed(theirs, len(part), first, next(outs))
        runs = median(inputs_only, RUNS)
        timed(ours, len(part), full, first, next(outs))
        result: dict[str, Any] = {
            "transactions": transactions.source,
            "events": len(transactions),
            "slice": len(part),
            "loops": {
                "15 inputs": runs.row()
                | {
                    "average_precision": average_precision(ours_first.predictions, part),
                    "average_precision_whole": average_precision(runs.predictions, transactions),
                },
                "full fraud pipeline": median(full, max(RUNS // 2, 1)).row(),
                "River, scaler | logistic": river.row()
                | {"average_precision": average_precision(river.predictions, part)},
            },
            "shares": shares(partial(ours, inputs_only, whole, next(outs))),
            "shares_full": shares(partial(ours, full, whole, next(outs))),
        }
    for row in result["loops"].values():
        row["over_river"] = row["events_per_s"] / river.row()["events_per_s"]
    return result


def show(result: dict[str, Any]) -> None:
    """Print the result of `run`."""
    made = Table(title=f"Parquet to predictions, {result['transactions']} transactions, one core")
    for heading in ("loop", "events/s", "events/s, wall", "× River", "average precision"):
        made.add_column(heading, justify="left" if heading == "loop" else "right")
    for name, row in result["loops"].items():
        ap = f"{row['average_precision']:.3f}" if "average_precision" in row else ""
        rates = (f"{row[key]:,.0f}" for key in ("events_per_s", "events_per_wall_s"))
        made.add_row(name, *rates, f"{row['over_river']:.1f}", ap)
    console = Console(width=110)
    console.print(made)
    for key, what in (("shares", "15 inputs"), ("shares_full", "full pipeline")):
        spent = ", ".join(f"{name} {share:.0%}" for name, share in result[key].items())
        console.print(f"{what}: {spent}", highlight=False)


if __name__ == "__main__":
    show(run())
