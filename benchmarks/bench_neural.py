"""The neural network: scored by our kernel, torch and ONNX Runtime; learnt, beside Linear.

Run as `python -m benchmarks.bench_neural`.

The 25 inputs of the shipped pipeline, for attention the customer's last 8 payments too, and their 7
days of delay, over the first transactions of the Handbook where HEADRACE_DATA names its folder,
else over simulated ones. Every contender scores the same network of the same examples, on one
thread, rows of an array and one row at a time; before torch our kernel finds the knots. Rates are
per second of processor time, the median of several runs after one that warms up. AUC and average
precision are over the second half, by versions up to 1,000 events old; of networks means and
standard deviations over several seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.bench_features import operator, seconds, stream
from benchmarks.history import attentive, history
from benchmarks.transactions import MATURITY, Rows, Transactions, featurize
from jobs.fraud import champion, pipeline
from models.base import Floats, Labels, Model
from models.exchange import onnx_of
from models.neural import Neural
from models.neural_version import NeuralVersion
from models.training import Trainer
from operators.metrics import auc, average_precision

EVENTS = 300_000
BLOCK = 1000
ROWS = 20_000
RUNS = 5
SEEDS = 4
FEATURES = dict(pipeline.features) | history
NAMES, ALL = tuple(pipeline.features), tuple(FEATURES)


def events() -> tuple[Floats, Labels, Floats, dict[str, float]]:
    """Inputs with the history, labels and times of transactions, in order; what inputs cost."""
    transactions = Transactions.at_hand(EVENTS).first(EVENTS)
    rows = Rows(transactions)
    x = featurize(operator(FEATURES), rows)
    inputs_us = {
        name: seconds(RUNS, partial(stream, features, rows)) / len(x) * 1e6
        for name, features in (("25", pipeline.features), ("49", FEATURES))
    }
    return x, transactions.fraud.astype(np.int8), transactions.time.astype(np.float64), inputs_us


def one_pass(
    model: Model, names: tuple[str, ...], x: Floats, y: Labels, at: Floats
) -> tuple[dict[str, float], Any]:
    """Score each event, learn it when its label is known; and the last version."""
    learner = model.bind(names)
    scores, weight = np.empty(len(x)), np.ones(len(x))
    known = np.searchsorted(at + MATURITY, at)
    learning, learnt = 0.0, 0
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        began = time.process_time()
        new = slice(learnt, int(known[start]))
        learner.learn_many(x[new], y[new], weight[new])
        learning += time.process_time() - began
        learnt = new.stop
        scores[rows] = learner.version().predict_many(x[rows])
    half = len(x) // 2
    found = {
        "learnt_per_s": learnt / learning,
        "auc": auc(scores[half:], y[half:]),
        "ap": average_precision(scores[half:], y[half:]),
    }
    return found, learner.version()


def passes(
    model: Model, names: tuple[str, ...], x: Floats, y: Labels, at: Floats
) -> tuple[dict[str, float], Any]:
    """Means and deviations of `one_pass` over the seeds of a network; and the first's version."""
    made = [
        one_pass(replace(model, seed=seed) if isinstance(model, Neural) else model, names, x, y, at)
        for seed in range(SEEDS if isinstance(model, Neural) else 1)
    ]
    found = {key: [figures[key] for figures, _ in made] for key in made[0][0]}
    means = {key: float(np.mean(each)) for key, each in found.items()}
    spread = {f"{key}_deviation": float(np.std(found[key])) for key in ("auc", "ap")}
    return means | spread, made[0][1]


def rate(score: Callable[[Floats], Any], pieces: list[Floats]) -> float:
    """Rows a second."""
    taken = []
    for _ in range(RUNS + 1):
        began = time.process_time()
        for piece in pieces:
            score(piece)
        taken.append(time.process_time() - began)
    return sum(map(len, pieces)) / float(np.median(taken[1:]))


def contenders(version: NeuralVersion) -> dict[str, Callable[[Floats], Any]]:
    """What scores rows, by name."""
    import onnxruntime
    import torch

    trainer = Trainer(version.frame.shape, device="cpu", decay=0, clip=1, focus=0)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_of(version), options, providers=["CPUExecutionProvider"]
    )

    def by_torch(x: Floats) -> Any:
        with torch.no_grad():
            return trainer.log_odds(version.weights, *version.frame.locate(x, version.knots))

    return {
        "kernel": version.predict_many,
        "torch": by_torch,
        "ONNX Runtime": lambda x: session.run(None, {"inputs": x}),
    }


def run() -> dict[str, Any]:
    """Rates of scoring by contender, of learning, and quality beside Linear."""
    every, y, at, inputs_us = events()
    plain = np.ascontiguousarray(every[:, : len(NAMES)])
    learnt: dict[str, Any] = {}
    scored: dict[str, dict[str, float]] = {}
    reasons: dict[str, float] = {}
    models: dict[str, Model] = {
        "Linear": champion,
        "Neural": Neural(),
        "Neural with attention": attentive,
        "Neural with the history as inputs": Neural(),
    }
    for name, model in models.items():
        names, x = (ALL, every) if "with" in name else (NAMES, plain)
        learnt[name], version = passes(model, names, x, y, at)
        if isinstance(version, NeuralVersion):
            of = name.removeprefix("Neural")
            scored |= {contender + of: found for contender, found in rates(version, x).items()}
            began = time.process_time()
            version.reasons_many(x[:BLOCK], 3)
            reasons[name] = (time.process_time() - began) / BLOCK * 1e6
    return {
        "learnt": learnt,
        "scored": scored,
        "inputs_us": inputs_us,
        "reasons_us": reasons,
        "events": len(y),
    }


def rates(version: NeuralVersion, x: Floats) -> dict[str, dict[str, float]]:
    """How fast each contender scores, in blocks and a row alone."""
    blocks = [x[start : start + BLOCK] for start in range(0, ROWS, BLOCK)]
    ones = [x[row : row + 1] for row in range(ROWS // 10)]
    return {
        name: {"rows_per_s": rate(score, blocks), "one_us": 1e6 / rate(score, ones)}
        for name, score in contenders(version).items()
    }


def table(result: dict[str, Any]) -> Table:
    """The result of `run`."""
    shown = Table("", title=f"a network of {len(NAMES)} inputs, one thread")
    for heading in ("rows/s, blocks of 1,000", "µs a row alone", "learnt/s", "AUC", "AP"):
        shown.add_column(heading, justify="right")
    for name, row in result["scored"].items():
        shown.add_row(name, f"{row['rows_per_s']:,.0f}", f"{row['one_us']:.1f}", "", "", "")
    for name, row in result["learnt"].items():
        quality = (f"{row[key]:.3f} ± {row[f'{key}_deviation']:.3f}" for key in ("auc", "ap"))
        figures = f"{row['learnt_per_s']:,.0f}", *quality
        shown.add_row(name, "", "", *figures)
    costs = {"inputs": result["inputs_us"], "reasons": result["reasons_us"]}
    said = (
        f"{name} of {of} {us:.2f} µs" for name, cost in costs.items() for of, us in cost.items()
    )
    shown.caption = f"{result['events']:,} events; {', '.join(said)} a row"
    return shown


if __name__ == "__main__":
    from rich.console import Console

    Console(width=100).print(table(run()))
