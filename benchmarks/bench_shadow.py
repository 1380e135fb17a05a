"""What challengers in shadow cost: the same work with and without them, in turn.

Run as `python -m benchmarks.bench_shadow`.

Challengers score and learn from all traffic: in one process that is a part of its loop, elsewhere a
part of the learn job alone, and a score job does nothing for them. So two things are timed, of the
fraud pipeline with its challenger and without: the whole loop from Parquet to predictions, as
`bench_loop` times it, and the learning half, which is given predictions and outcomes at once and
scores, judges and learns. A rate is events per second of processor time, the median of several
runs in turn after one that warms up; the share is that of the rate without which is lost.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.bench_loop import BATCH, ours, table_of, timed
from benchmarks.rivals.river_loop import COLUMNS
from benchmarks.transactions import MATURITY, Transactions
from jobs.definition import Pipeline
from jobs.fraud import pipeline as full
from jobs.held import Held
from jobs.learning import Learning
from jobs.scoring import Scoring
from streams.records import Outcomes
from streams.sources import FileSource

RUNS = 5
EVENTS = 400_000
ALONE = replace(full, challengers={})
Taken = list[tuple[Held, list[Outcomes]]]


def taken(read: Path, folder: Path) -> Taken:
    """What the learn job takes: predictions, and the outcomes told after them."""
    folder.mkdir()
    columns = {name: name for name in COLUMNS}
    scoring = Scoring(full, folder)
    found = []
    for batch, _ in FileSource([read], full.event, columns, BATCH, label_delay_us=MATURITY):
        scored, outcomes = scoring.process(batch)
        rows = scored.rows
        words = np.zeros((len(scored), 4), np.int64)
        words[:, 0], words[:, 1] = batch.idents[rows, 0, 1], batch.time[rows]
        words[:, 2] = batch.idents[rows, 1, 1]
        held = Held(scored.number, words, scored.scores[:, 0].copy(), scored.features)
        found.append(
            (held, [msgspec.json.decode(each.record(), type=Outcomes) for each in outcomes])
        )
    scoring.close()
    return found


def learn(pipeline: Pipeline, given: Taken, folder: Path) -> float:
    """Seconds of processor time that learning takes."""
    folder.mkdir()
    learning = Learning(pipeline, folder)
    began = time.process_time()
    for held, outcomes in given:
        learning.hold(held)
        for each in outcomes:
            learning.learn(each)
    seconds = time.process_time() - began
    learning.close()
    return seconds


def run() -> dict[str, Any]:
    """Rates with and without, and the share that is lost, of the loop and of the learning half."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    transactions = Transactions.at_hand().first(EVENTS)
    count = len(transactions)
    with tempfile.TemporaryDirectory() as name:
        read, given = Path(name) / "events.parquet", taken_of(Path(name), transactions)
        outs = (Path(name) / f"run{number}" for number in range(1000))

        def loop(pipeline: Pipeline) -> float:
            return timed(ours, count, pipeline, read, next(outs)).seconds

        def half(pipeline: Pipeline) -> float:
            return learn(pipeline, given, next(outs))

        return {
            "transactions": transactions.source,
            "events": count,
            "challengers": list(full.challengers),
            "whole loop": compared([(loop(full), loop(ALONE)) for _ in turns()], count),
            "learning half": compared([(half(full), half(ALONE)) for _ in turns()], count),
        }


def taken_of(folder: Path, transactions: Transactions) -> Taken:
    """Those transactions written to `events.parquet`, and what the learn job takes of them."""
    pq.write_table(table_of(transactions), folder / "events.parquet")
    return taken(folder / "events.parquet", folder / "scored")


def turns() -> Iterator[int]:
    """One to warm up, and the others."""
    return iter(range(1 + RUNS))


def compared(seconds: list[tuple[float, float]], count: int) -> dict[str, float]:
    """Of seconds with and without, in turn: the rates, and the share that is lost."""
    with_them, without = (
        count / statistics.median(each) for each in zip(*seconds[1:], strict=True)
    )
    return {"with": with_them, "without": without, "share": 1 - with_them / without}


def show(result: dict[str, Any]) -> None:
    """Print the result of `run`."""
    shown = Table(title=f"{result['events']:,} {result['transactions']} transactions, one core")
    for heading in ("", "events/s with", "without", "share lost"):
        shown.add_column(heading, justify="right" if heading else "left")
    for name in ("whole loop", "learning half"):
        row = result[name]
        shown.add_row(name, f"{row['with']:,.0f}", f"{row['without']:,.0f}", f"{row['share']:.1%}")
    Console(width=110).print(shown)


if __name__ == "__main__":
    show(run())
