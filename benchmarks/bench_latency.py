"""One event at a time, in process: the fraud pipeline's features and the champion's score.

Run as `python -m benchmarks.bench_latency`.

Each call takes a transaction as a batch of one through `Features.update` and the score of a learnt
version; between the timed calls labels are written. State is warm: the events before have been
through. The collector is frozen and off, as in a running host; one core, wall clock. Each run
begins anew and makes the same calls; percentiles are the median of the runs.
"""

from __future__ import annotations

import gc
import os
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.bench_features import operator
from benchmarks.transactions import Rows, Transactions
from jobs.fraud import pipeline

WARM = 400_000
CALLS = 1_000_000
RUNS = 5
QUANTILES = {"p50": 50.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}


def run() -> dict[str, dict[str, float]]:
    """Microseconds at each quantile, of the features, the score and both."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = Rows(Transactions.at_hand().first(WARM + CALLS))
    calls = np.array([_calls(rows) for _ in range(RUNS)]) / 1e3
    parts = {"features": calls[..., 0], "score": calls[..., 1], "both": calls.sum(axis=2)}
    return {
        part: {
            name: float(np.median(np.percentile(spent, quantile, axis=1)))
            for name, quantile in QUANTILES.items()
        }
        for part, spent in parts.items()
    } | {"calls": {"a run": calls.shape[1], "runs": RUNS}}


def _calls(rows: Rows) -> npt.NDArray[np.int64]:
    """Nanoseconds of features and of the score of every event after the warm ones."""
    features = operator(pipeline.features)
    learner = pipeline.champion.bind(features.plan.names)
    warm = next(rows.batches(WARM))
    x = np.ascontiguousarray(features.update(*warm)[:, : len(features.plan.names)])
    y = (x[:, 0] > np.quantile(x[:, 0], 0.99)).astype(np.int8)
    learner.learn_many(x, y, np.ones(len(x)))
    version = learner.version()
    times = np.empty((len(rows.when) - WARM, 2), np.int64)
    now, done = time.perf_counter_ns, 0
    gc.collect()
    gc.freeze()
    gc.disable()
    for event in rows.batches(1, start=WARM):
        if event[-1] == 0:
            features.update(*event)
            continue
        start = now()
        line = features.update(*event)
        middle = now()
        version.predict_many(line)
        times[done] = middle - start, now() - middle
        done += 1
    gc.enable()
    gc.unfreeze()
    return times[:done]


def table(results: dict[str, Any]) -> Table:
    """Microseconds."""
    made = Table(title="One event, in process (µs)")
    for column in ("", *QUANTILES):
        made.add_column(column, justify="right" if column else "left")
    for part in ("features", "score", "both"):
        made.add_row(part, *(f"{results[part][name]:.1f}" for name in QUANTILES))
    return made


if __name__ == "__main__":
    Console().print(table(run()))
