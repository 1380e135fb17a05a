"""What an explanation costs beside the score: contributions, reasons and intervals.

Run as `python -m benchmarks.run --only explain`.

Every model learns the same events of 15 inputs (`bench_models`), then scores and explains others,
in batches, by processor time, and one by one, the median by the clock. What is measured is the
version alone, without features or records.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.bench_models import CROSSES, NAMES, events
from models.anomaly import HalfSpaceTrees
from models.base import Floats, Model, Version
from models.bins import log_edges
from models.ensemble import Ensemble
from models.forest import Forest
from models.linear import Linear
from models.river import River

LEARNT, BATCH, ONES = 60_000, 20_000, 5_000
FEW = 300
"""Events for a model of River's, which takes milliseconds for one."""
REPEATS = 3
Step = Callable[[Version, Floats], Any]
STEPS: dict[str, Step] = {
    "score": lambda version, x: version.predict_many(x),
    "contributions": lambda version, x: version.contributions_many(x),
    "3 reasons": lambda version, x: version.reasons_many(x, 3),
}


def models() -> dict[str, Model]:
    """What is explained."""
    from river import linear_model, preprocessing

    linear = Linear(inputs=dict.fromkeys(NAMES, log_edges(0.1, 1000, 8)), crosses=CROSSES)
    forest = Forest()
    logistic = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    return {
        "Linear, 10 crosses": linear,
        "Forest, 10 trees": forest,
        "HalfSpaceTrees, 25 trees": HalfSpaceTrees(),
        "Ensemble of the first two": Ensemble(members={"linear": linear, "forest": forest}),
        "River: scaler | logistic": River(logistic),
    }


def measured(name: str, model: Model) -> dict[str, float]:
    """Microseconds an event of each step, in a batch and alone."""
    rivers = name.startswith("River")
    x, y = events(LEARNT + BATCH)
    learnt = FEW if rivers else LEARNT
    learner = model.bind(NAMES)
    learner.learn_many(x[:learnt], y[:learnt], np.ones(learnt))
    version, rows = learner.version(), x[LEARNT:][: FEW if rivers else BATCH]
    out = {}
    for step, take in STEPS.items():
        seconds = best(lambda take=take: take(version, rows))  # type: ignore[misc]
        out[f"{step}, in a batch"] = seconds / len(rows) * 1e6
        out[f"{step}, alone"] = alone(version, rows[:ONES], take)
    scores = version.predict_many(rows)
    seconds = best(lambda: version.intervals_many(scores))
    out["interval, in a batch"] = seconds / len(rows) * 1e6
    out["interval, once a version"] = first_interval(version, scores[:1])
    return out


def best(once: Callable[[], Any]) -> float:
    """Seconds of processor time of the fastest of a few runs, after one that warms up."""
    once()
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        once()
        taken.append(time.process_time() - start)
    return min(taken)


def alone(version: Version, rows: Floats, take: Step) -> float:
    """Microseconds of a call with a single event, the median."""
    taken = []
    for place in range(len(rows)):
        row = rows[place : place + 1]
        start = time.perf_counter_ns()
        take(version, row)
        taken.append(time.perf_counter_ns() - start)
    return float(np.median(taken)) / 1e3


def first_interval(version: Version, score: Floats) -> float:
    """Microseconds until a version that was never asked knows its first interval, the median."""
    taken = []
    for _ in range(100):
        fresh = type(version).from_parts(version.config(), version.tensors())
        start = time.perf_counter_ns()
        fresh.intervals_many(score)
        taken.append(time.perf_counter_ns() - start)
    return float(np.median(taken)) / 1e3


def run() -> dict[str, Any]:
    """Microseconds by model and step."""
    return {name: measured(name, model) for name, model in models().items()}


def table(result: dict[str, Any]) -> Table:
    """The result of `run`, a row a model."""
    shown = Table("model", title="microseconds an event: in a batch of 20,000 / alone")
    for heading in (*STEPS, "interval", "a version's first"):
        shown.add_column(heading, justify="right")
    for name, row in result.items():
        cells = [
            f"{row[f'{step}, in a batch']:.2f} / {row[f'{step}, alone']:.1f}" for step in STEPS
        ]
        once = [f"{row[f'interval, {when}']:.3f}" for when in ("in a batch", "once a version")]
        shown.add_row(name, *cells, *once)
    return shown
