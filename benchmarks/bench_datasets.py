"""Every learner, with default settings, on the classification data that River's package carries.

Run as `python -m benchmarks.bench_datasets`.

Phishing (1,250 pages), Bananas (5,300 points) and ImageSegments (2,310 of 7 kinds): each event is
scored, then learnt. Ours know two classes, so of seven kinds each has a learner that tells it from
the rest, and the scores are divided by their sum; River's know any number. Accuracy is of the kind
with the highest score, AUC the mean over the kinds of each against the rest. A rate is events per
second of processor time. Beside them stand who says what was seen last, and who says what is most
frequent. Ours that a library makes anew say the same of everything until the thousandth event.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from rich.table import Table

from models.anomaly import HalfSpaceTrees
from models.base import Floats, Labels, Model
from models.boosted import Boosted
from models.ensemble import Ensemble
from models.forest import Forest
from models.isolation import IsolationForest
from models.linear import Linear
from operators.metrics import auc

Given = list[tuple[dict[str, float], Any]]
OURS: dict[str, Model] = {
    "Forest": Forest(),
    "Linear": Linear(),
    "Ensemble of both": Ensemble(members={"linear": Linear(), "forest": Forest()}, every=50),
    "Boosted": Boosted(),
    "HalfSpaceTrees": HalfSpaceTrees(),
    "IsolationForest": IsolationForest(),
}


def ours(model: Model, given: Given) -> Floats:
    """Scores (n, kinds) of one learner a kind, or of one alone where there are two."""
    names = tuple(sorted(given[0][0]))
    x = np.array([[float(row[name]) for name in names] for row, _ in given])
    kinds = sorted({kind for _, kind in given})
    own = kinds[1:] if len(kinds) == 2 else kinds
    scores = np.zeros((len(x), len(own)))
    for place, kind in enumerate(own):
        y = np.array([each == kind for _, each in given]).astype(np.int8)
        scores[:, place] = one(model, names, x, y)
    return np.column_stack([1 - scores, scores]) if len(own) == 1 else scores


def one(model: Model, names: tuple[str, ...], x: Floats, y: Labels) -> Floats:
    """The score of each event by what came before."""
    learner, scores = model.bind(names), np.empty(len(x))
    for row in range(len(x)):
        at = slice(row, row + 1)
        scores[at] = learner.version().predict_many(x[at])
        learner.learn_many(x[at], y[at], np.ones(1))
    return scores


def rivers(make: Callable[[], Any], given: Given) -> Floats:
    """Scores (n, kinds) of one of River's estimators."""
    kinds, estimator = sorted({kind for _, kind in given}), make()
    scores = np.zeros((len(given), len(kinds)))
    for place, (row, kind) in enumerate(given):
        said = estimator.predict_proba_one(row)
        scores[place] = [said.get(each, 0.0) for each in kinds]
        estimator.learn_one(row, kind)
    return scores


def estimators() -> dict[str, Callable[[], Any]]:
    """River's, and what has to be beaten."""
    from river import dummy, forest, linear_model, multiclass, naive_bayes, preprocessing, tree

    return {
        "River AMF": partial(forest.AMFClassifier, seed=1),
        "River ARF": partial(forest.ARFClassifier, seed=1),
        "River Hoeffding tree": tree.HoeffdingTreeClassifier,
        "River naive Bayes": naive_bayes.GaussianNB,
        "River logistic": lambda: (
            preprocessing.StandardScaler()
            | multiclass.OneVsRestClassifier(linear_model.LogisticRegression())
        ),
        "no change": dummy.NoChangeClassifier,
        "prior": dummy.PriorClassifier,
    }


def judged(scores: Floats, given: Given, seconds: float) -> dict[str, float]:
    """Accuracy, AUC and events a second."""
    kinds = sorted({kind for _, kind in given})
    y = np.array([kinds.index(kind) for _, kind in given])
    whole = scores.sum(axis=1, keepdims=True)
    scores = scores / np.where(whole > 0, whole, 1)
    against = [
        auc(np.ascontiguousarray(scores[:, place]), (y == place).astype(np.int8))
        for place in range(len(kinds))
    ]
    return {
        "accuracy": float(np.mean(scores.argmax(axis=1) == y)),
        "auc": float(np.mean(against)),
        "events_per_s": len(y) / seconds,
    }


def learners() -> Iterator[tuple[str, Callable[[Given], Floats]]]:
    """All, by name."""
    for name, model in OURS.items():
        yield name, partial(ours, model)
    for name, make in estimators().items():
        yield name, partial(rivers, make)


def on(name: str) -> dict[str, Any]:
    """Every learner on one of River's data sets."""
    from river import datasets

    given = list(getattr(datasets, name)())
    results = {}
    for learner, scored in learners():
        start = time.process_time()
        scores = scored(given)
        results[learner] = judged(scores, given, time.process_time() - start)
    return results


PARTS = {name: partial(on, name) for name in ("Phishing", "Bananas", "ImageSegments")}


def run() -> dict[str, Any]:
    """Accuracy, AUC and rate by data and learner."""
    return {name: part() for name, part in PARTS.items()}


def table(results: dict[str, Any]) -> Table:
    """A line for each learner, accuracy and AUC for each data set."""
    made = Table("", title="each event scored, then learnt, with default settings")
    for name in results:
        made.add_column(f"{name}: accuracy", justify="right")
        made.add_column("AUC", justify="right")
    for learner in next(iter(results.values())):
        cells = [
            f"{of[learner][key]:.3f}" for of in results.values() for key in ("accuracy", "auc")
        ]
        made.add_row(learner, *cells)
    return made
