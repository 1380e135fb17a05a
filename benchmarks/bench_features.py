"""The 15 Handbook inputs a second, beside plain Python, polars, pandas and River, on one core.

Run as `python -m benchmarks.bench_features`.

On the Handbook's data where HEADRACE_DATA names their folder, else on simulated traffic. Rates are
transactions per second of processor time, the median of several runs of one process pinned to one
core; ours in batches of 8192 rows with the labels among them, from an empty state. `equal` is the
share of a rival's values that agree with ours to 1e-9; polars counts later rows of the same second.
"""

from __future__ import annotations

import importlib
import os
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.rivals import INPUTS
from benchmarks.transactions import Float64s, Rows, Transactions, featurize
from jobs.fraud import pipeline, published, transaction
from operators.features import Feature
from operators.featurize import Features
from operators.plan import compile_plan
from streams.schema import duration_us

RIVALS = ("deques", "polars_rolling", "pandas_rolling", "river_rolling")
BATCH = 8192
RUNS = 5
RIVAL_RUNS = 3


def seconds(runs: int, once: Callable[[], Any]) -> float:
    """Processor seconds of a run, the median of several."""
    taken = []
    for _ in range(runs):
        start = time.process_time()
        once()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def operator(features: Mapping[str, Feature]) -> Features:
    """The feature operator with an empty state."""
    lateness_us = duration_us(pipeline.lateness)
    plan = compile_plan(transaction, features, lateness_us=lateness_us, cap=pipeline.cap)
    return Features(plan, transaction.keys)


def stream(features: Mapping[str, Feature], rows: Rows) -> None:
    """Carry all rows through, from an empty state, keeping no output."""
    windows = operator(features)
    for batch in rows.batches(BATCH):
        windows.update(*batch)


def agreement(left: Float64s, right: Float64s) -> float:
    """The share of values that are equal but for rounding."""
    return float(np.isclose(left, right, rtol=1e-9, atol=1e-9).mean())


def run() -> dict[str, Any]:
    """Events a second of ours and of each rival, the ratio between them, and where they agree."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    transactions = Transactions.at_hand()
    rows = Rows(transactions)
    exact = featurize(operator({name: published[name] for name in INPUTS}), rows)
    n = len(transactions)
    rate = n / seconds(RUNS, lambda: stream(published, rows))
    full = n / seconds(RIVAL_RUNS, lambda: stream(pipeline.features, rows))
    results: dict[str, Any] = {
        "transactions": transactions.source,
        "ours": {"events_per_s": rate},
        "ours, full fraud pipeline": {"events_per_s": full, "features": len(pipeline.features)},
    }
    for name in RIVALS:
        rival = importlib.import_module(f"benchmarks.rivals.{name}")
        part = transactions.first(rival.sample(transactions))
        prepared = rival.prepare(part)
        made = rival.features(prepared)
        theirs = len(part) / seconds(RIVAL_RUNS, partial(rival.features, prepared))
        equal = agreement(made, exact[: len(part)])
        ratio = rate / theirs
        results[name] = {"events_per_s": theirs, "ours_over_it": ratio, "equal": equal}
    return results


def table(results: dict[str, Any]) -> Table:
    """Rates and ratios."""
    made = Table(title=f"The 15 Handbook inputs, {results['transactions']} transactions, one core")
    for column in ("", "events/s", "ours / it", "equal"):
        made.add_column(column, justify="right" if column else "left")
    for name, row in results.items():
        if isinstance(row, dict):
            ratio = f"{row['ours_over_it']:.1f}" if "ours_over_it" in row else ""
            equal = f"{row['equal']:.4%}" if "equal" in row else ""
            made.add_row(name, f"{row['events_per_s']:,.0f}", ratio, equal)
    return made


if __name__ == "__main__":
    Console().print(table(run()))
