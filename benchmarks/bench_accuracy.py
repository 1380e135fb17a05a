"""Every learner by the Handbook's protocol: one pass, labels seven days late.

Run as `python -m benchmarks.bench_accuracy`, with HEADRACE_DATA naming the folder of the data.

Inputs are those of the shipped pipeline, or the 15 of the published models. Before each 1,000
events the learner learns, in order, whatever has a label by then, and a version of that scores
them. Costs are microseconds of processor time an event, of learning and of scoring with its part of
making versions. River's estimators learn through our adapter, their prediction of one event at a
time included. Its forests would take hours: by their own loop they learn every fraud and every 20th
genuine payment, and score the rows that are judged alone. Of the network stand means over several
seeds. LightGBM is trained anew for each fold, on all whose label is known when the test starts,
with the better of two settings on the validation folds, its defaults being the other, and is judged
on the test folds alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from benchmarks.bench_features import operator
from benchmarks.bench_forest import adaptive, mondrian
from benchmarks.history import attentive, history
from benchmarks.transactions import Int64s, Rows, Transactions, featurize
from jobs.fraud import champion, pipeline, published, published_only
from jobs.handbook import (
    DAY_US,
    PUBLISHED,
    TEST_FOLDS,
    VALIDATION_FOLDS,
    WEEK,
    Scored,
    day_number,
    judge,
    judged_rows,
)
from models.anomaly import HalfSpaceTrees
from models.base import Floats, Labels, Model
from models.baselines import AmountRule, Prior, Random
from models.boosted import Boosted
from models.ensemble import Ensemble
from models.forest import Forest
from models.isolation import IsolationForest
from models.neural import Neural
from models.river import River
from streams.errors import ConfigError

BLOCK = 1000
SEEDS = 4
"""Of the network, since what it learns differs by seed."""
ONE_IN = 20
"""Of so many genuine payments River's forests learn one."""
MATURITY = 7 * DAY_US
FEATURES = dict(pipeline.features) | history
ALL, FEW, PAST = tuple(pipeline.features), tuple(published), tuple(history)
BOOSTED = {
    "n_estimators": 200,
    "learning_rate": 0.03,
    "num_leaves": 15,
    "min_child_samples": 50,
    "n_jobs": 1,
    "verbose": -1,
    "random_state": 0,
}


class Events(NamedTuple):
    """All events in order of time, with `FEATURES`."""

    time: Int64s
    customer: Int64s
    x: Floats
    y: Labels


@cache
def events() -> Events:
    """The Handbook's. Raises ConfigError where they are not at hand."""
    transactions = Transactions.at_hand(1)
    if transactions.source != "Handbook":
        raise ConfigError("accuracy: HEADRACE_DATA should name the folder of handbook_raw.parquet")
    x = featurize(operator(FEATURES), Rows(transactions))
    y = transactions.fraud.astype(np.int8)
    return Events(transactions.time, transactions.customer, x, y)


def rated(scores: Floats, folds: Sequence[date]) -> dict[str, float]:
    """Means over folds."""
    of = events()
    found = judge(Scored(of.time // DAY_US, of.customer, scores, of.y), tuple(folds))
    return dict(zip(("auc", "average_precision", "card_precision"), found.mean, strict=True))


def once(model: Model, names: Sequence[str] = ()) -> dict[str, Any]:
    """One pass of a model over all events; scores count from the first validation fold on."""
    of = events()
    own = names or ALL
    x = np.ascontiguousarray(of.x[:, [tuple(FEATURES).index(name) for name in own]])
    judged = int(np.searchsorted(of.time, day_number(min(VALIDATION_FOLDS)) * DAY_US))
    known = np.searchsorted(of.time, of.time - MATURITY, side="right")
    learner, scores = model.bind(tuple(own)), np.full(len(x), 0.5)
    learn, score, done, scored = 0.0, 0.0, 0, 0
    for first in range(0, len(x), BLOCK):
        rows, began = slice(done, int(known[first])), time.process_time()
        learner.learn_many(x[rows], of.y[rows], np.ones(rows.stop - rows.start))
        done, learnt = rows.stop, time.process_time()
        learn += learnt - began
        if first >= judged:
            rows = slice(first, first + BLOCK)
            scores[rows] = learner.version().predict_many(x[rows])
            score += time.process_time() - learnt
            scored += len(x[rows])
    return {
        "inputs": len(own),
        "learn_us": learn / done * 1e6,
        "score_us": score / scored * 1e6,
        "test": rated(scores, TEST_FOLDS),
        "validation": rated(scores, VALIDATION_FOLDS),
    }


def seeded(model: Neural, names: Sequence[str] = ()) -> dict[str, Any]:
    """The means of passes that differ by seed alone, and their standard deviations on the tests."""
    passes = [once(replace(model, seed=seed), names) for seed in range(SEEDS)]

    def over(part: str, of: Callable[[list[float]], Any]) -> dict[str, float]:
        return {key: float(of([each[part][key] for each in passes])) for key in passes[0][part]}

    return {
        "inputs": passes[0]["inputs"],
        "learn_us": float(np.mean([each["learn_us"] for each in passes])),
        "score_us": float(np.mean([each["score_us"] for each in passes])),
        "test": over("test", np.mean),
        "validation": over("validation", np.mean),
        "deviation": over("test", partial(np.std, ddof=1)),
    }


def retrained() -> dict[str, Any]:
    """LightGBM, from the extra `boost`."""
    import lightgbm

    of = events()
    x, day, scores = of.x[:, : len(ALL)], of.time // DAY_US, np.full(len(of.y), 0.5)
    began, learnt, scored, score = time.process_time(), 0, 0, 0.0
    for fold in TEST_FOLDS:
        start = day_number(fold)
        model = lightgbm.LGBMClassifier(**BOOSTED)
        past = day < start + WEEK
        model.fit(x[past], of.y[past])
        test = (day >= start + 2 * WEEK) & (day < start + 3 * WEEK)
        before = time.process_time()
        scores[test] = model.predict_proba(x[test])[:, 1]
        score += time.process_time() - before
        learnt, scored = max(learnt, int(past.sum())), scored + int(test.sum())
    seconds = time.process_time() - began - score
    return {
        "inputs": len(ALL),
        "learn_us": seconds / learnt * 1e6,
        "score_us": score / scored * 1e6,
        "test": rated(scores, TEST_FOLDS),
    }


def logistic() -> dict[str, Any]:
    """River's scaler and logistic regression."""
    from river import linear_model, preprocessing

    return once(River(preprocessing.StandardScaler() | linear_model.LogisticRegression()))


def hoeffding() -> dict[str, Any]:
    """River's Hoeffding tree."""
    from river import tree

    return once(River(tree.HoeffdingTreeClassifier()))


def sampled(forest: Callable[[], Any]) -> dict[str, Any]:
    """One of River's forests, of all frauds and a part of the genuine payments."""
    of, estimator = events(), forest()
    day, x, scores = of.time // DAY_US, of.x[:, : len(ALL)], np.full(len(of.y), 0.5)
    judged = np.zeros(len(of.y), np.bool_)
    for fold in TEST_FOLDS:
        judged[judged_rows(day, of.customer, of.y, day_number(fold))] = True
    taught = (of.y == 1) | (np.cumsum(of.y == 0) % ONE_IN == 0)
    known = np.searchsorted(of.time, of.time - MATURITY, side="right")
    learn, score, done, learnt = 0.0, 0.0, 0, 0
    for first in range(0, np.flatnonzero(judged)[-1] + 1, BLOCK):
        fresh = done + np.flatnonzero(taught[done : known[first]])
        rows = first + np.flatnonzero(judged[first : first + BLOCK])
        lessons = [dict(zip(ALL, row, strict=True)) for row in x[fresh].tolist()]
        asked = [dict(zip(ALL, row, strict=True)) for row in x[rows].tolist()]
        began = time.process_time()
        for row, label in zip(lessons, of.y[fresh].astype(bool).tolist(), strict=True):
            estimator.learn_one(row, label)
        between = time.process_time()
        scores[rows] = [estimator.predict_proba_one(row).get(True, 0.0) for row in asked]
        score += time.process_time() - between
        learn += between - began
        done, learnt = int(known[first]), learnt + len(fresh)
    return {
        "inputs": len(ALL),
        "learnt": learnt,
        "seconds": learn + score,
        "learn_us": learn / learnt * 1e6,
        "score_us": score / int(judged.sum()) * 1e6,
        "test": rated(scores, TEST_FOLDS),
    }


both = Ensemble(members={"linear": champion, "forest": Forest()}, every=1000)
PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "Linear": partial(once, champion),
    "Linear on 15 inputs": partial(once, published_only, FEW),
    "Forest": partial(once, Forest()),
    "Forest on 15 inputs": partial(once, Forest(), FEW),
    "Ensemble of Linear and Forest": partial(once, both),
    "Boosted": partial(once, Boosted()),
    "Neural": partial(seeded, Neural()),
    "Neural on 15 inputs": partial(seeded, Neural(), FEW),
    "Neural with attention": partial(seeded, attentive, ALL + PAST),
    "Neural with attention on 15 inputs": partial(seeded, attentive, FEW + PAST),
    "HalfSpaceTrees": partial(once, HalfSpaceTrees()),
    "IsolationForest": partial(once, IsolationForest()),
    "LightGBM retrained": retrained,
    "River logistic": logistic,
    "River Hoeffding tree": hoeffding,
    "River AMF": partial(sampled, mondrian),
    "River ARF": partial(sampled, adaptive),
    "Prior": partial(once, Prior()),
    "AmountRule": partial(once, AmountRule()),
    "Random": partial(once, Random()),
}


def run() -> dict[str, Any]:
    """Quality and cost by learner."""
    return {name: part() for name, part in PARTS.items()}


def table(results: dict[str, Any]) -> Table:
    """Ours and the published, best average precision first."""
    made = Table(title="Handbook protocol, four test folds")
    for column in ("", "inputs", "AUC", "AP", "CP@100", "AP, validation", "learn, µs", "score, µs"):
        made.add_column(column, justify="right" if column else "left")
    lines = [
        (row["test"]["average_precision"], name, *_cells(row)) for name, row in results.items()
    ]
    for name, figures in PUBLISHED.items():
        lines.append((figures[1], name, "15", *(f"{each:.3f}" for each in figures), "", "", ""))
    for _, *line in sorted(lines, reverse=True):
        made.add_row(*line)
    return made


def _cells(row: dict[str, Any]) -> list[str]:
    validation = row.get("validation", {}).get("average_precision")
    return [
        str(row["inputs"]),
        *(f"{row['test'][key]:.3f}" for key in ("auc", "average_precision", "card_precision")),
        "" if validation is None else f"{validation:.3f}",
        *(f"{row[key]:.2f}" for key in ("learn_us", "score_us")),
    ]
