"""Performance expected without labels beside the true one, where inputs or the prior have moved.

Run as `python -m benchmarks.run --only expected`, or some of its parts by `--parts`.

A reference of ten spans with labels, then windows whose labels are held back. `simulated`: three
inputs decide on fraud, the model knows two of them and its scores are too sure. `resampled`:
transactions as the champion scored them that had learnt from those before (the Handbook's where
HEADRACE_DATA names their folder), one half for references, the other for windows. Prior: frauds are
more or fewer. Inputs: one that the model knows has moved; resampled, windows prefer large or small
amounts, or customers whose amounts are. Errors are mean absolute ones over windows, against the
true value of the window, which is itself of finitely many frauds: `spread` is by how much it varies
from window to window. Uncorrected: ours without the prior's correction; plain: scores taken at
their word; CBPE: NannyML's, in an environment of its own. `learning` (`benchmarks.expecting`):
payments scored by a champion that learns meanwhile, where ours is what the shipped monitor says,
in the mean of several streams.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from shutil import which
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.bench_features import operator
from benchmarks.expecting import CHANGES, learning
from benchmarks.labelled import Floats, Labelled, scope
from benchmarks.peers import nannyml_cbpe
from benchmarks.prove import ROOT
from benchmarks.transactions import Rows, Transactions, featurize
from jobs.fraud import champion, pipeline
from operators.drift.performance import Performance, PerformanceMonitor
from operators.drift.ranking import expected
from operators.drift.spans import EVENTS
from operators.metrics import auc, average_precision
from streams.schema import DAY

Bools = npt.NDArray[np.bool_]
REPEATS = 20
SPANS = 10
SIZES = {"simulated": 50_000, "resampled": 100_000}
METRICS = ("auc", "average_precision")
_BLOCK = 5_000


class Scored(NamedTuple):
    """Events, in no order."""

    score: Floats
    fraud: Bools


Draw = Callable[[np.random.Generator, int], Scored]


def simulated(random: np.random.Generator, n: int, *, moved: float = 0.0) -> Scored:
    """Of three inputs, the first moved by so many deviations."""
    x = random.normal(0, 1, (n, 3))
    x[:, 0] += moved
    risk = -5.2 + 1.6 * x[:, 0] + 1.3 * x[:, 1]
    fraud = random.random(n) < 1 / (1 + np.exp(-(risk + 0.8 * x[:, 2])))
    return Scored(1 / (1 + np.exp(-(1.5 * risk + 2.0))), fraud)


def times(factor: float) -> Draw:
    """Frauds so many times as frequent, and like before."""

    def draw(random: np.random.Generator, n: int) -> Scored:
        pool = simulated(random, 4 * n + 100_000)
        share = pool.fraud.mean() * factor
        return _mixed(random, pool, n, share)

    return draw


def _mixed(random: np.random.Generator, pool: Scored, n: int, share: float) -> Scored:
    """N events of a pool, this share of them frauds, no event twice."""
    frauds = random.binomial(n, share)
    rows = np.concatenate(
        [
            random.choice(np.flatnonzero(pool.fraud), frauds, replace=False),
            random.choice(np.flatnonzero(~pool.fraud), n - frauds, replace=False),
        ]
    )
    return Scored(pool.score[rows], pool.fraud[rows])


@cache
def pool() -> tuple[Scored, Floats]:
    """Transactions as the champion scores them that learnt from the first part; their inputs."""
    transactions = Transactions.at_hand(1_500_000)
    x = featurize(operator(pipeline.features), Rows(transactions))
    y = transactions.fraud.astype(np.int8)
    learner, first = champion.bind(tuple(pipeline.features)), len(y) // 3
    for start in range(0, first, _BLOCK):
        rows = slice(start, min(start + _BLOCK, first))
        learner.learn_many(x[rows], y[rows], np.ones(rows.stop - rows.start))
    scores = learner.version().predict_many(x[first:])
    return Scored(scores, transactions.fraud[first:]), x[first:]


def half(odd: int) -> npt.NDArray[np.int64]:
    """The rows of the pool for references, or those for windows."""
    return np.arange(odd, len(pool()[0].score), 2)


def resampled(random: np.random.Generator, n: int, *, odd: int = 1) -> Scored:
    """As they come."""
    rows = random.choice(half(odd), n, replace=False)
    return Scored(pool()[0].score[rows], pool()[0].fraud[rows])


def resampled_times(factor: float) -> Draw:
    """Frauds so many times as frequent."""

    def draw(random: np.random.Generator, n: int) -> Scored:
        scored, rows = pool()[0], half(1)
        held = Scored(scored.score[rows], scored.fraud[rows])
        return _mixed(random, held, n, held.fraud.mean() * factor)

    return draw


def preferring(name: str, strength: float) -> Draw:
    """Events the likelier the higher an input ranks: by a factor of exp(strength) in all."""

    def draw(random: np.random.Generator, n: int) -> Scored:
        rows = half(1)
        column = pool()[1][rows, list(pipeline.features).index(name)]
        ranks = np.argsort(np.argsort(column, kind="stable"), kind="stable") / len(rows)
        # The rows with the smallest keys are a sample by weight without replacement.
        keys = random.exponential(size=len(rows)) / np.exp(strength * ranks)
        rows = rows[np.argpartition(keys, n)[:n]]
        return Scored(pool()[0].score[rows], pool()[0].fraud[rows])

    return draw


def _reference(random: np.random.Generator, n: int) -> Scored:
    return resampled(random, n, odd=0)


WORLDS: dict[str, tuple[Draw, dict[str, Draw]]] = {
    "simulated": (
        simulated,
        {
            "as before": simulated,
            "prior x 0.5": times(0.5),
            "prior x 2": times(2.0),
            "prior x 4": times(4.0),
            "input - 0.5 deviations": partial(simulated, moved=-0.5),
            "input + 0.5 deviations": partial(simulated, moved=0.5),
            "input + 1 deviation": partial(simulated, moved=1.0),
        },
    ),
    "resampled": (
        _reference,
        {
            "as before": resampled,
            "prior x 0.5": resampled_times(0.5),
            "prior x 2": resampled_times(2.0),
            "prior x 3": resampled_times(3.0),
            "large amounts": preferring("amount", 1.5),
            "small amounts": preferring("amount", -1.5),
            "spending customers": preferring("customer_mean_30d", 1.5),
        },
    ),
}
LEARNING = "learning: "
PARTS = dict.fromkeys([*WORLDS, *(f"{LEARNING}{change}" for change in CHANGES)])


def days(first: int, each: list[Scored]) -> Labelled:
    """A day of events each, whose labels come a day later."""
    time_us = np.concatenate(
        [
            (first + place) * DAY + np.arange(len(scored.score)) * DAY // len(scored.score)
            for place, scored in enumerate(each)
        ]
    )
    score, fraud = (np.concatenate(column) for column in zip(*each, strict=True))
    return Labelled.of(time_us, score, fraud, np.full(len(fraud), DAY - 1.0), DAY)


def monitor(fed: Labelled, state: dict[str, npt.NDArray[Any]] | None = None) -> PerformanceMonitor:
    """One that was told these events and, a day late, their labels."""
    made = Performance().bind(scope(DAY, pipeline.alert_budget, {}))
    if state:
        made.load(state)
    for bucket in fed.buckets(DAY):
        made.close(bucket)
    return made


def estimates(known: dict[str, npt.NDArray[Any]], window: Scored) -> dict[str, Floats]:
    """AUC and average precision of a window by each way to expect them."""
    made, budget = monitor(days(SPANS + 1, [window]), known), pipeline.alert_budget
    curve, events = made.reference.curves[0], made.spans.of(SPANS + 1)[0, EVENTS]
    assert curve is not None
    corrected, scores = list(made.rows())[-1].expected, np.sort(window.score)
    return {
        "expected": np.array([corrected[metric] for metric in METRICS]),
        "uncorrected": expected(events.astype(np.float64), curve.chance, budget)[:2],
        "plain": expected(np.ones(len(scores)), scores, budget)[:2],
    }


def cbpe(reference: list[Scored], windows: list[Scored]) -> tuple[str, Floats]:
    """NannyML's version, and its AUC and average precision of each window."""
    uv = which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    command = [uv, "run", "--no-project", "--quiet", "--python", "3.11"]
    for package in nannyml_cbpe.PACKAGES:
        command += ["--with", package]
    size = len(windows[0].score)
    with tempfile.TemporaryDirectory() as folder:
        held, scores = Path(folder) / "reference.npy", Path(folder) / "windows.npy"
        np.save(held, np.concatenate([np.column_stack(scored) for scored in reference]))
        np.save(scores, np.concatenate([window.score for window in windows]))
        done = subprocess.run(
            [*command, "python", "-m", nannyml_cbpe.__name__, str(held), str(scores), str(size)],
            env=os.environ
            | {"PYTHONPATH": str(ROOT), "VIRTUAL_ENV": "", "NML_DISABLE_USAGE_LOGGING": "1"},
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    said = json.loads(done.stdout.splitlines()[-1])
    return said["version"], np.column_stack([said["roc_auc"], said["average_precision"]])


def measured(world: str) -> dict[str, Any]:
    """Of each change, frauds a window, the true values and the errors of each way."""
    size, (usual, changes) = SIZES[world], WORLDS[world]
    random = np.random.default_rng(7)
    reference = [usual(random, size) for _ in range(SPANS + 1)]
    known = monitor(days(0, reference)).state()
    windows = [draw(random, size) for draw in changes.values() for _ in range(REPEATS)]
    version, theirs = cbpe(reference[:SPANS], windows)
    results: dict[str, Any] = {}
    for place, change in enumerate(changes):
        rows = slice(place * REPEATS, (place + 1) * REPEATS)
        judged = [estimates(known, window) for window in windows[rows]]
        ways = {way: np.array([each[way] for each in judged]) for way in judged[0]}
        ways[f"NannyML {version}"] = theirs[rows]
        true = np.array(
            [(auc(w.score, w.fraud), average_precision(w.score, w.fraud)) for w in windows[rows]]
        )
        frauds = np.mean([w.fraud.sum() for w in windows[rows]])
        results[change] = {"events": size, "frauds": float(frauds)} | {
            metric: {"true": float(true[:, at].mean()), "spread": float(true[:, at].std())}
            | {way: float(np.abs(got - true)[:, at].mean()) for way, got in ways.items()}
            for at, metric in enumerate(METRICS)
        }
    return results


def run() -> dict[str, Any]:
    """Mean absolute errors by world, change, metric and way."""
    results: dict[str, Any] = {}
    for part in PARTS:
        change = part.removeprefix(LEARNING)
        alone = part in WORLDS
        results[part] = measured(part) if alone else {change: learning(change)}
    return results


def show(results: dict[str, Any]) -> None:
    """A table for each metric, of a line for each change: the true value, and each way's error."""
    for metric in METRICS:
        rows = [row[metric] for changes in results.values() for row in changes.values()]
        names = list(dict.fromkeys(name for row in rows for name in row))
        made = Table(title=f"{metric} expected without labels: mean absolute error")
        for column in ("", "frauds", *names):
            made.add_column(column, justify="right" if column else "left")
        for world, changes in results.items():
            for change, row in changes.items():
                own = row[metric]
                figures = (f"{own[name]:.4f}" if name in own else "" for name in names)
                made.add_row(f"{world}: {change}", f"{row['frauds']:.0f}", *figures)
        Console(width=120).print(made)


if __name__ == "__main__":
    show(run())
