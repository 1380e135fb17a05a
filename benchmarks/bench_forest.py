"""Predict and learn each event: our forest and half-space trees beside River's and CapyMOA's.

Run as `python -m benchmarks.bench_forest`.

The 15 inputs of the Handbook's models (simulated traffic where its data is not at hand), every
event scored and then learnt with its label. Rivals take minutes for a thousandth of what comes, so
all learn the same 30,000 events in order of time: every eighth fraud and as many genuine ones,
evenly, as fill them up; ours learns all events too. Rates are per second of processor time, all
threads included: ours takes rows of an array, River's dicts that are made before the clock starts.
Theirs score an event by all that came before it, ours by a version that lacks at most the last 100
of them (1,000 over all), and never more than a twentieth. One seed proves little: of our forests
and River's adaptive one stand the means over several, and between them the standard deviation.
CapyMOA runs in an environment of its own, which the first run fetches; its score is MOA's vote.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.bench_features import operator
from benchmarks.peers import capymoa_forest
from benchmarks.prove import ROOT
from benchmarks.rivals import INPUTS
from benchmarks.transactions import Rows, Transactions, featurize
from jobs.fraud import published
from models.anomaly import HalfSpaceTrees
from models.base import Floats, Labels, Model
from models.forest import Forest
from operators.metrics import auc, average_precision

EVENTS = 30_000
ONE_IN = 8
OFTEN, SELDOM, GROWTH = 100, 1000, 20
TREES = 10
SEEDS, FEWER_SEEDS = range(1, 9), range(1, 6)


@cache
def events() -> tuple[Floats, Labels]:
    """Inputs and labels of all events, in order of time."""
    transactions = Transactions.at_hand()
    x = featurize(operator({name: published[name] for name in INPUTS}), Rows(transactions))
    return x, transactions.fraud.astype(np.int8)


@cache
def some() -> tuple[Floats, Labels]:
    """The 30,000 of them that everybody learns."""
    x, y = events()
    frauds, genuine = np.flatnonzero(y)[::ONE_IN], np.flatnonzero(y == 0)
    even = np.linspace(0, len(genuine) - 1, EVENTS - len(frauds)).astype(np.int64)
    rows = np.sort(np.concatenate([frauds, genuine[even]]))
    return np.ascontiguousarray(x[rows]), y[rows]


def judged(scores: Floats, y: Labels, seconds: float) -> dict[str, float]:
    """Events a second, and how well all scores rank."""
    return {
        "events": len(y),
        "events_per_s": len(y) / seconds,
        "auc": auc(scores, y),
        "average_precision": average_precision(scores, y),
    }


def ours(
    model: Model, given: Callable[[], tuple[Floats, Labels]], block: int = OFTEN
) -> dict[str, float]:
    """One of our models: a version for every event at first, later one for so many."""
    x, y = given()
    learner, scores = model.bind(INPUTS), np.empty(len(y))
    start = time.process_time()
    first = 0
    while first < len(y):
        rows = slice(first, min(first + min(block, 1 + first // GROWTH), len(y)))
        scores[rows] = learner.version().predict_many(x[rows])
        learner.learn_many(x[rows], y[rows], np.ones(len(y[rows])))
        first = rows.stop
    return judged(scores, y, time.process_time() - start)


def rivers(make: Callable[[], Any]) -> dict[str, float]:
    """River's own loop over a classifier, or over what only says how odd an event is."""
    x, y = some()
    estimator, scores = make(), np.empty(len(y))
    rows = [dict(zip(INPUTS, row, strict=True)) for row in x.tolist()]
    labels, scorer = y.astype(bool).tolist(), hasattr(estimator, "score_one")
    start = time.process_time()
    for place, (row, label) in enumerate(zip(rows, labels, strict=True)):
        if scorer:
            scores[place] = estimator.score_one(row)
            estimator.learn_one(row)
        else:
            scores[place] = estimator.predict_proba_one(row).get(True, 0.0)
            estimator.learn_one(row, label)
    return judged(scores, y, time.process_time() - start)


def over_seeds(one: Callable[[int], dict[str, float]], seeds: range = SEEDS) -> dict[str, float]:
    """Means over seeds, and between them the standard deviations of what ranks."""
    rows = [one(seed) for seed in seeds]
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    ranks = ("auc", "average_precision")
    spread = {f"{key}_sd": float(np.std([row[key] for row in rows])) for key in ranks}
    return means | {"events": rows[0]["events"], "seeds": len(rows)} | spread


def seeded(trees: int) -> dict[str, float]:
    """Our forest of so many trees, over seeds."""
    return over_seeds(lambda seed: ours(Forest(trees=trees, seed=seed), some))


def adaptives() -> dict[str, float]:
    """River's adaptive random forest, over seeds."""
    return over_seeds(lambda seed: rivers(partial(adaptive, seed)), FEWER_SEEDS)


def mondrian() -> Any:
    """River's aggregated Mondrian forest."""
    from river import forest

    return forest.AMFClassifier(n_estimators=TREES, seed=1)


def adaptive(seed: int = 1) -> Any:
    """River's adaptive random forest."""
    from river import forest

    return forest.ARFClassifier(n_models=TREES, seed=seed)


def half_spaces() -> Any:
    """As many trees as ours, on inputs scaled to [0, 1], as River's want them."""
    from river import anomaly, preprocessing

    model = HalfSpaceTrees()
    trees = anomaly.HalfSpaceTrees(
        n_trees=model.trees, height=model.height, window_size=model.window, seed=1
    )
    return preprocessing.MinMaxScaler() | trees  # type: ignore[no-untyped-call]


def capymoas() -> dict[str, float]:
    """The peer, in its own process; its seconds are those of its loop."""
    x, y = some()
    uv = which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    command = [uv, "run", "--no-project", "--quiet", "--python", "3.11"]
    for package in capymoa_forest.PACKAGES:
        command += ["--with", package]
    with tempfile.TemporaryDirectory() as folder:
        rows, scores = Path(folder) / "rows.npy", Path(folder) / "scores.npy"
        np.save(rows, np.column_stack([x, y]))
        done = subprocess.run(
            [*command, "python", "-m", capymoa_forest.__name__, str(rows), str(scores)],
            env=os.environ | {"PYTHONPATH": str(ROOT), "VIRTUAL_ENV": ""},
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        said = json.loads(done.stdout.splitlines()[-1])
        return judged(np.load(scores).clip(0, 1), y, said["seconds"])


PARTS: dict[str, Callable[[], dict[str, float]]] = {
    "Forest": partial(seeded, TREES),
    "Forest of 20 trees": partial(seeded, 2 * TREES),
    "River AMF": partial(rivers, mondrian),
    "River ARF": adaptives,
    "CapyMOA ARF": capymoas,
    "HalfSpaceTrees": partial(ours, HalfSpaceTrees(), some),
    "River half-space trees": partial(rivers, half_spaces),
    "Forest over all": partial(ours, Forest(trees=TREES), events, SELDOM),
    "HalfSpaceTrees over all": partial(ours, HalfSpaceTrees(), events, SELDOM),
}


def run() -> dict[str, Any]:
    """Rates, AUC and average precision by learner."""
    return {name: part() for name, part in PARTS.items()}


def table(results: dict[str, Any]) -> Table:
    """A line for each learner; how many times faster ours of its kind is, over the same events."""
    made = Table(title="predict and learn, 15 inputs, one core")
    for column in ("", "events", "events/s", "ours / it", "AUC", "AP"):
        made.add_column(column, justify="right" if column else "left")
    for name, row in results.items():
        own = results.get("HalfSpaceTrees" if "alf" in name else "Forest")
        rival = own and not name.startswith(("Forest", "HalfSpace"))
        ratio = f"{own['events_per_s'] / row['events_per_s']:.1f}" if own and rival else ""
        quality = (_rated(row, key) for key in ("auc", "average_precision"))
        made.add_row(name, f"{row['events']:,}", f"{row['events_per_s']:,.0f}", ratio, *quality)
    return made


def _rated(row: dict[str, float], key: str) -> str:
    spread = f" ± {row[f'{key}_sd']:.3f}" if "seeds" in row else ""
    return f"{row[key]:.3f}{spread}"
