"""The River adapter gives River's own numbers, and its states restore nothing but River."""

import os
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from models import fenced
from models.base import Floats, Labels
from models.calibration import Calibration
from models.checks import NAMES, examples
from models.river import River, _dicts
from streams.errors import ConfigError, StateError

pytest.importorskip("river")
from river import ensemble, forest, linear_model, preprocessing, tree
from river.datasets import Bananas, Phishing
from river.metrics import ROCAUC, LogLoss


def logistic() -> Any:
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


ESTIMATORS: dict[str, Callable[[], Any]] = {
    "logistic": logistic,
    "tree": lambda: tree.HoeffdingTreeClassifier(grace_period=30),
    "forest": lambda: forest.ARFClassifier(n_models=2, seed=4),
    "bagging": lambda: ensemble.ADWINBaggingClassifier(logistic(), n_models=2, seed=4),
}


def rows(dataset: Any, n: int) -> tuple[tuple[str, ...], Floats, Labels]:
    events = list(dataset)[:n]
    names = tuple(events[0][0])
    x = np.array([[float(event[name]) for name in names] for event, _ in events])
    return names, x, np.array([label for _, label in events], np.int8)


@pytest.mark.parametrize("dataset", [Phishing, Bananas])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_predict_then_learn_gives_rivers_own_probabilities(name: str, dataset: Any) -> None:
    names, x, y = rows(dataset(), 120)
    own, learner = ESTIMATORS[name](), River(ESTIMATORS[name]()).bind(names)
    for i in range(len(x)):
        row = dict(zip(names, x[i].tolist(), strict=True))
        wanted = own.predict_proba_one(row).get(True, 0.0)
        got = learner.version().predict_many(x[i : i + 1])[0]
        assert got == min(max(wanted, 1e-15), 1 - 1e-15)
        own.learn_one(row, bool(y[i]))
        learner.learn_many(x[i : i + 1], y[i : i + 1], np.ones(1))


@pytest.mark.parametrize("metric", [ROCAUC, LogLoss])
def test_rivers_own_metrics_agree_on_rivers_own_data(metric: Any) -> None:
    names, x, y = rows(Phishing(), 1250)
    own, ours, estimator = metric(), metric(), logistic()
    learner = River(logistic()).bind(names)
    for i, (row, label) in enumerate(Phishing()):
        own.update(label, estimator.predict_proba_one(row))
        ours.update(label, {True: learner.version().predict_many(x[i : i + 1])[0]})
        estimator.learn_one(row, label)
        learner.learn_many(x[i : i + 1], y[i : i + 1], np.ones(1))
    assert abs(own.get() - ours.get()) < 1e-9


def test_the_estimator_that_was_given_is_not_changed() -> None:
    given = logistic()
    River(given).bind(NAMES).learn_many(*examples())
    assert given["LogisticRegression"].weights == {}


def test_missing_inputs_are_left_out_or_none() -> None:
    x = np.array([[1.0, np.nan]])
    assert _dicts(("amount", "night"), x, "drop") == [{"amount": 1.0}]
    assert _dicts(("amount", "night"), x, "none") == [{"amount": 1.0, "night": None}]


def test_weights_reach_an_estimator_that_takes_them() -> None:
    x, y, _ = examples()
    models = [
        River(linear_model.LogisticRegression(), calibration=Calibration(positive_weight=weight))
        for weight in (1, 5)
    ]
    raised = []
    for model in models:
        learner = model.bind(NAMES)
        learner.learn_many(x / 100, y, np.ones(len(x)))
        raised.append(learner._estimator.weights["amount"])
    assert raised[1] > raised[0]


def test_weights_are_refused_by_an_estimator_that_takes_none() -> None:
    x, y, weight = examples()
    learner = River(forest.AMFClassifier(seed=1)).bind(NAMES)
    with pytest.raises(ConfigError, match="takes no weights"):
        learner.learn_many(x, y, weight * 2)


def test_what_is_no_classifier_is_refused_with_what_to_install() -> None:
    with pytest.raises(ConfigError, match="uv sync --extra river"):
        River(preprocessing.StandardScaler())


class Call:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


class Raw:
    """Bytes that name what no honest pickle names."""

    def __init__(self, module: str, name: str) -> None:
        self.raw = b"\x80\x04\x8c" + bytes([len(module)]) + module.encode()
        self.raw += b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93."


@pytest.mark.parametrize(
    "attack",
    [
        Call(os.system, "touch /tmp/never"),
        Call(eval, "1"),
        Call(getattr, [], "append"),
        Call(partial(os.getenv), "HOME"),
        Call(np.load, "/tmp/never"),
        Call(open, "/tmp/never"),
    ],
    ids=["system", "eval", "getattr", "partial", "numpy", "open"],
)
def test_a_pickle_that_names_anything_else_is_refused(attack: object) -> None:
    with pytest.raises(StateError, match="was not read"):
        fenced.loads(pickle.dumps(attack))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("river.base", "os.system"),
        ("river.utils.pretty", "print_table"),
        ("river.datasets", "Phishing"),
        ("river.datasets.base", "RemoteDataset"),
        ("river.stream.cache", "Cache"),
        ("river.base.estimator", "abc"),
        ("riverrun", "Anything"),
        ("models.linear", "Linear"),
        ("numpy", "load"),
        ("functools", "reduce"),
    ],
)
def test_a_name_beside_the_models_is_refused(module: str, name: str) -> None:
    with pytest.raises(StateError):
        fenced.loads(Raw(module, name).raw)


def test_a_damaged_state_is_refused() -> None:
    raw = fenced.dumps(logistic())
    with pytest.raises(StateError, match="cannot be read"):
        fenced.loads(raw[: len(raw) // 2])


def test_a_learner_refuses_the_state_of_another_estimator() -> None:
    tree_state = River(tree.HoeffdingTreeClassifier()).bind(NAMES).state()
    with pytest.raises(StateError, match="the state is of"):
        River(logistic()).bind(NAMES).load(tree_state)


def test_a_learner_refuses_a_malicious_state() -> None:
    learner = River(logistic()).bind(NAMES)
    state = learner.state()
    state["estimator"] = np.frombuffer(pickle.dumps(Call(os.system, "true")), np.uint8)
    with pytest.raises(StateError, match="was not read"):
        learner.load(state)
