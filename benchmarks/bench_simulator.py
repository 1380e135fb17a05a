"""Simulated events a second, to each kind of output, beside a loop of plain Python.

Run as `python -m benchmarks.bench_simulator`.

The loop draws what a visit needs (a time, a customer by activity, a terminal, a lognormal amount)
and knows no seasons, habits, fraud or faults. Every figure is the median of several runs of one
thread, per second of that thread's processor time; kernels are compiled before the clock starts.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from bisect import bisect
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

from rich.console import Console
from rich.table import Table

from streams.simulation.simulator import Simulation
from streams.simulation.traffic import Traffic

EVENTS = 1_000_000
PYTHON_EVENTS = 100_000
REPEATS = 3
BATCH = 8192

ORDINARY = Traffic(events=EVENTS)
FAULTY = Traffic(events=EVENTS, disorder=0.01, late=0.01, duplicates=0.01, garbage=0.01)
LARGE = Traffic(events=EVENTS, customers=1_000_000, terminals=100_000, per_day=200_000)


def python_loop(events: int) -> int:
    """Visits as tuples, by the standard library."""
    draw = random.Random(0)
    weights = list(accumulate(draw.lognormvariate(0, 0.8) for _ in range(ORDINARY.customers)))
    now, rows = 0.0, []
    for number in range(events):
        now += draw.expovariate(ORDINARY.per_day) * 86_400e6
        customer = bisect(weights, draw.random() * weights[-1])
        cents = round(draw.lognormvariate(7.8, 0.9))
        rows.append((number, int(now), customer, draw.randrange(ORDINARY.terminals), cents))
    return len(rows)


def batches(traffic: Traffic) -> int:
    """Rows as Batches, as a run takes them."""
    return sum(len(batch) for batch, _ in Simulation(traffic, BATCH))


def columns(traffic: Traffic) -> int:
    """Transactions as numpy columns with their ground truth."""
    return len(Simulation(traffic).columns(EVENTS)["id"])


def parquet(traffic: Traffic) -> int:
    """Transactions to a Parquet file."""
    with tempfile.TemporaryDirectory() as folder:
        return Simulation(traffic).to_parquet(Path(folder) / "out.parquet")["transactions"]


def ndjson(traffic: Traffic) -> int:
    """Records to an NDJSON file."""
    with tempfile.TemporaryDirectory() as folder:
        written = Simulation(traffic).to_ndjson(Path(folder) / "out.ndjson")
        return written["transactions"] + written["labels"]


def rate(work: Callable[[], int]) -> float:
    """Rows a second of processor time, the median of `REPEATS`."""
    rates = []
    for _ in range(REPEATS):
        start = time.thread_time()
        rows = work()
        rates.append(rows / (time.thread_time() - start))
    return statistics.median(rates)


def run() -> dict[str, float]:
    """Events a second by what is made."""
    batches(Traffic(events=1000))
    ndjson(Traffic(events=1000))
    return {
        "plain Python loop": rate(lambda: python_loop(PYTHON_EVENTS)),
        "batches": rate(lambda: batches(ORDINARY)),
        "batches, with faults": rate(lambda: batches(FAULTY)),
        "batches, 1 M customers": rate(lambda: batches(LARGE)),
        "columns": rate(lambda: columns(ORDINARY)),
        "Parquet": rate(lambda: parquet(ORDINARY)),
        "NDJSON, with faults": rate(lambda: ndjson(FAULTY)),
    }


def main() -> None:
    """Print the rates."""
    table = Table("output", "M events/s", title="simulator, per second of one thread")
    for name, events in run().items():
        table.add_row(name, f"{events / 1e6:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
