"""Our models are River classifiers: they pass River's own checks and say what they say here."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from headrace import for_river
from models.anomaly import HalfSpaceTrees
from models.base import Model
from models.boosted import Boosted
from models.checks import NAMES, examples
from models.ensemble import Ensemble
from models.forest import Forest
from models.isolation import IsolationForest
from models.linear import Linear
from models.neighbours import Neighbours
from models.replay import Replay

pytest.importorskip("river")
pytest.importorskip("lightgbm")
from river import compose, evaluate, metrics, preprocessing
from river.checks import yield_checks
from river.datasets import Phishing

MODELS: dict[str, Model] = {
    "linear": Linear(bits=12),
    "forest": Forest(trees=3, nodes=255, learnt_after=30),
    "half-spaces": HalfSpaceTrees(trees=5, height=5, window=50, learnt_after=30),
    "boosted": Boosted(rounds=5, leaves=4, after=50, every=70, latest=150, past=20),
    "isolation": IsolationForest(trees=5, sample=32, after=60, latest=100),
    "neighbours": Neighbours(latest=100, learnt_after=30),
    "ensemble": Ensemble(members={"linear": Linear(bits=8), "forest": Forest(learnt_after=20)}),
    "replay": Replay(model=Linear(bits=8), size=50, every=50),
}


def checks() -> list[Any]:
    """River's checks of each model, but those it says a model may leave out."""
    found: list[Any] = []
    for name, model in MODELS.items():
        wrapped = for_river(model)
        for number, check in enumerate(yield_checks(wrapped)):
            inner = check.func if isinstance(check, partial) else check
            assert inner.__name__ not in wrapped._unit_test_skips()
            found.append(pytest.param(model, check, id=f"{name}-{inner.__name__}-{number}"))
    return found


@pytest.mark.parametrize(("model", "check"), checks())
def test_it_passes_rivers_own_check(model: Model, check: Callable[[Any], None]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # River's data are read in its own way
        check(for_river(model).clone())


@pytest.mark.parametrize("every", [1, 7])
def test_it_says_what_the_model_says(every: int) -> None:
    x, y, weight = examples(n=150)
    model = Forest(trees=2, nodes=63, learnt_after=30)
    learner, river = model.bind(NAMES), for_river(model, features=NAMES, every=every)
    version = learner.version()
    for i in range(len(x)):
        row = dict(zip(NAMES, x[i].tolist(), strict=True))
        row = {name: value for name, value in row.items() if not np.isnan(value)}
        wanted = version.predict_many(x[i : i + 1])[0]
        assert river.predict_proba_one(row) == {False: 1 - wanted, True: wanted}
        river.learn_one(row | {"other": 5}, bool(y[i]))
        learner.learn_many(x[i : i + 1], y[i : i + 1], weight[i : i + 1])
        if (i + 1) % every == 0:
            version = learner.version()


def test_it_ends_a_pipeline_of_rivers_and_is_judged_by_river() -> None:
    scaler = preprocessing.StandardScaler()
    pipeline = compose.Pipeline(scaler, for_river(Linear(bits=12, prior=0.5)))
    loss: Any = metrics.LogLoss()  # type: ignore[no-untyped-call]
    assert evaluate.progressive_val_score(Phishing(), pipeline, loss).get() < 0.4


def test_a_label_of_another_class_is_refused() -> None:
    with pytest.raises(ValueError, match="False or True; got 'blue'"):
        for_river(Linear()).learn_one({"a": 1}, "blue")
