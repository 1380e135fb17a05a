"""Predict and learn each event of 15 inputs: Linear beside River's own loop.

Run as `python -m benchmarks.bench_models`.

Every model scores each event and learns it. Ours take rows of an array and a new version every
2,000 examples, and so does River through our adapter; River's own loop scores and learns event by
event, from dicts that are made before the clock starts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from models.base import Floats, Labels, Model
from models.baselines import AmountRule, Prior
from models.bins import log_edges
from models.linear import Linear
from models.river import River

NAMES = ("amount", *(f"x{i}" for i in range(1, 15)))
CROSSES = [(NAMES[i], NAMES[i + 1]) for i in range(10)]
EVERY = 2_000
EVENTS = 400_000
RIVER_EVENTS = 6_000
REPEATS = 3


def events(n: int) -> tuple[Floats, Labels]:
    """So many events of 15 log-normal inputs; about 4 % positive, by the ratio of the first two."""
    rng = np.random.default_rng(7)
    x = np.exp(rng.normal(2, 1.5, (n, len(NAMES))))
    odds = x[:, 0] / x[:, 1] * math.exp(-5)
    return x, (rng.random(n) < odds / (1 + odds)).astype(np.int8)


def ours(model: Model, x: Floats, y: Labels) -> Floats:
    """Score and learn in blocks, a new version after each."""
    learner = model.bind(NAMES)
    weight = np.ones(len(x))
    scores = np.empty(len(x))
    for start in range(0, len(x), EVERY):
        rows = slice(start, start + EVERY)
        scores[rows] = learner.version().predict_many(x[rows])
        learner.learn_many(x[rows], y[rows], weight[rows])
    return scores


def rivers(estimator: Any, x: Floats, y: Labels) -> tuple[float, Floats]:
    """Seconds of River's own loop, and its scores."""
    rows = [dict(zip(NAMES, row, strict=True)) for row in x.tolist()]
    labels = [bool(label) for label in y]
    scores = []
    start = time.perf_counter()
    for row, label in zip(rows, labels, strict=True):
        scores.append(estimator.predict_proba_one(row).get(True, 0.0))
        estimator.learn_one(row, label)
    return time.perf_counter() - start, np.array(scores)


def log_loss(scores: Floats, y: Labels) -> float:
    """Mean log loss over the second half."""
    half = len(y) // 2
    held = np.clip(scores[half:], 1e-15, 1 - 1e-15)
    return float(-np.mean(np.where(y[half:] > 0, np.log(held), np.log1p(-held))))


def best(once: Callable[[], Any]) -> float:
    """Seconds of the fastest of a few runs, after one that warms up."""
    once()
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        once()
        taken.append(time.perf_counter() - start)
    return min(taken)


def one_event(model: Model, x: Floats, y: Labels) -> dict[str, float]:
    """Microseconds to score a single event, with its reasons."""
    learner = model.bind(NAMES)
    learner.learn_many(x, y, np.ones(len(x)))
    version = learner.version()
    taken = []
    for row in range(20_000):
        event = x[row : row + 1]
        start = time.perf_counter_ns()
        version.predict_many(event)
        version.reasons_many(event, 3)
        taken.append((time.perf_counter_ns() - start) / 1e3)
    p50, p99 = np.percentile(taken, [50, 99])
    return {"p50_us": float(p50), "p99_us": float(p99)}


def run() -> dict[str, Any]:
    """Events a second and log loss by model, and the ratio to River's scaler and logistic."""
    from river import linear_model, preprocessing, tree

    x, y = events(EVENTS)
    models: dict[str, Model] = {
        "Linear, 15 inputs": Linear(inputs=dict.fromkeys(NAMES, log_edges(0.1, 1000, 8))),
        "Linear, 15 inputs and 10 crosses": Linear(
            inputs=dict.fromkeys(NAMES, log_edges(0.1, 1000, 8)), crosses=CROSSES
        ),
        "Linear, automatic edges": Linear(),
        "Prior": Prior(),
        "AmountRule": AmountRule(),
    }
    estimators: dict[str, Callable[[], Any]] = {
        "River: scaler | logistic": lambda: (
            preprocessing.StandardScaler() | linear_model.LogisticRegression()
        ),
        "River: Hoeffding tree": tree.HoeffdingTreeClassifier,
    }
    few = (x[:RIVER_EVENTS], y[:RIVER_EVENTS])
    adapted = River(preprocessing.StandardScaler() | linear_model.LogisticRegression())
    rows: dict[str, dict[str, float]] = {}
    for name, model in models.items():
        seconds = best(lambda model=model: ours(model, x, y))  # type: ignore[misc]
        rows[name] = {"per_s": EVENTS / seconds, "log_loss": log_loss(ours(model, *few), few[1])}
    for name, make in estimators.items():
        seconds, scores = min(
            (rivers(make(), *few) for _ in range(REPEATS)), key=lambda run: run[0]
        )
        rows[name] = {"per_s": RIVER_EVENTS / seconds, "log_loss": log_loss(scores, few[1])}
    rows["River: scaler | logistic, adapted"] = {
        "per_s": RIVER_EVENTS / best(lambda: ours(adapted, *few)),
        "log_loss": log_loss(ours(adapted, *few), few[1]),
    }
    base = rows["River: scaler | logistic"]["per_s"]
    for row in rows.values():
        row["ratio"] = row["per_s"] / base
    single = one_event(models["Linear, 15 inputs and 10 crosses"], *events(50_000))
    return {"models": rows, "one_event": single}


def show(result: dict[str, Any]) -> None:
    """Print the result of `run` as a table."""
    table = Table(title="predict and learn, 15 inputs, one core")
    for heading in ("model", "events/s", "× River logistic", f"log loss, {RIVER_EVENTS} events"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for name, row in result["models"].items():
        table.add_row(name, f"{row['per_s']:,.0f}", f"{row['ratio']:.1f}", f"{row['log_loss']:.4f}")
    console = Console(width=100)
    console.print(table)
    single = result["one_event"]
    console.print(
        "one event, score and 3 reasons: "
        f"p50 {single['p50_us']:.1f} µs, p99 {single['p99_us']:.1f} µs"
    )


if __name__ == "__main__":
    show(run())
