"""Simulated payments that a champion scores while it learns, for `bench_expected`.

The shipped pipeline goes through 24 weeks, of which the last four are after a change. Of each week
its monitor says at the end, when the labels of the week are not in, what AUC and average precision
are to be expected of the scores. What is true the simulator knows.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jobs.fraud import pipeline
from jobs.pipeline import Flow
from models.base import Labels
from operators.drift.performance import Performance, PerformanceMonitor
from operators.drift.watch import Watch
from operators.metrics import auc, average_precision
from streams.simulation.population import GENUINE
from streams.simulation.simulator import Simulation
from streams.simulation.traffic import Drift, InputShift, PriorShift, Traffic, moment_us

TRAFFIC = Traffic(days=168, per_day=15_000, fraud_rate=0.02, customers=7500, terminals=15_000)
AT = "2024-05-20"
CHANGES: dict[str, tuple[Drift, ...]] = {
    "as before": (),
    "prior x 2": (PriorShift(AT, size=2.0),),
    "prior x 0.5": (PriorShift(AT, size=0.5),),
    "inputs": (InputShift(AT, size=0.5),),
}
SEEDS = (1, 2, 3, 4)
METRICS = {"auc": auc, "average_precision": average_precision}


def learning(change: str) -> dict[str, Any]:
    """Mean absolute errors of the weeks since the change, beside the true values.

    They are means over streams; what each of those has is in "streams".
    """
    streams = {f"seed {seed}": _stream(change, seed) for seed in SEEDS}
    each = [*streams.values()]
    made: dict[str, Any] = {
        name: float(np.mean([one[name] for one in each])) for name in ("events", "frauds")
    }
    for metric in METRICS:
        made[metric] = {
            name: float(np.mean([one[metric][name] for one in each])) for name in each[0][metric]
        }
    return made | {"streams": streams}


def _stream(change: str, seed: int) -> dict[str, Any]:
    given = replace(TRAFFIC, drifts=CHANGES[change], seed=seed)
    watch = Watch(monitors=(Performance(span="7d"),))
    asked = replace(pipeline, challengers={}, amount="", watch=watch)
    scores, times, truth = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        flow, fraud = Flow(asked, Path(folder)), frauds(given)
        for batch, _ in Simulation(given, batch_size=5000):
            scored = flow.process(batch)
            scores.append(scored.scores[:, 0])
            times.append(batch.time[scored.rows])
            truth.append(fraud[batch.idents[scored.rows, 0, 1]])
    watching = flow.watching
    assert watching is not None
    (monitor,) = watching.monitors
    assert isinstance(monitor, PerformanceMonitor)
    score, time, y = (np.concatenate(column) for column in (scores, times, truth))
    since_us = moment_us(AT)
    whole = [span for span in monitor.rows() if not span.slice]
    spans = [span for span in whole if since_us < span.end_us <= given.end]
    rows = [slice(*np.searchsorted(time, [each.start_us, each.end_us]).tolist()) for each in spans]
    made: dict[str, Any] = {
        "events": float(np.mean([each.events for each in spans])),
        "frauds": float(np.mean([y[own].sum() for own in rows])),
    }
    for name, metric in METRICS.items():
        true = np.array([metric(score[own], y[own]) for own in rows])
        said = np.array([span.expected[name] for span in spans])
        apart = float(np.abs(said - true).mean())
        made[name] = {"true": float(true.mean()), "spread": float(true.std()), "expected": apart}
    return made


def frauds(given: Traffic) -> Labels:
    """Whether each payment is one, by its id."""
    columns = Simulation(given).columns(10_000_000)
    fraud = np.zeros(int(columns["id"].max()) + 1, np.int8)
    fraud[columns["id"]] = columns["tactic"] != GENUINE
    return fraud
