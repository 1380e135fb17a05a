"""Gradient-boosted trees, made anew by LightGBM on a cadence; what scores needs no LightGBM."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from models import trees
from models.base import Floats, Labels, Tensors
from models.calibration import (
    Calibration,
    observe_many,
    publish,
)
from models.recent import Recent
from models.state import restore
from models.tree_version import TreeVersion
from streams.errors import ConfigError

_NAN = 2
"""LightGBM's word for cuts that have a direction for what is missing."""
_NOTHING = float(np.float32(1e-35))
"""What LightGBM reads as 0."""


@dataclass(frozen=True, kw_only=True)
class Boosted:
    """`rounds` trees of `leaves` leaves by LightGBM (Ke et al., 2017), from the extra `boost`.

    They are made anew, by one thread, after the first `after` examples, then each time as many have
    come as had come until then, at most `every`: from the latest `latest` examples and, of those
    before, a sample of `past` of each label, weighed to stand for all of them (`models.recent`). A
    `past` of 0 forgets them, which is for a world that changes and never back. Meanwhile the trees
    there are score. What learns pays for making them where it is called: a second for 100,000
    examples of 15 inputs. Memory: 8 bytes a number of an example kept, and 28 a node.

    `rate`, `least` and `l2`: LightGBM's learning rate, fewest examples in a leaf, and
    regularisation. `inputs`: names of the inputs it looks at; all of the pipeline when empty.
    `prior`: the probability before any tree is made, which takes examples of both labels.

    >>> model = Boosted(rounds=10, leaves=3, after=200, latest=400)
    >>> learner = model.bind(("amount", "night"))
    >>> x = np.array([[900.0, 1.0], [5.0, 0.0]] * 200)
    >>> learner.learn_many(x, np.array([1, 0] * 200, np.int8), np.ones(400))
    >>> (learner.version().predict_many(x[:2]) > 0.5).tolist()
    [True, False]
    """

    inputs: tuple[str, ...] = ()
    rounds: int = 100
    leaves: int = 31
    rate: float = 0.1
    least: int = 20
    l2: float = 1.0
    after: int = 1000
    every: int = 10_000
    latest: int = 50_000
    past: int = 25_000
    prior: float = 0.01
    seed: int = 0
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        counts = min(self.rounds, self.least, self.after, self.every, self.latest) >= 1
        if not (counts and self.leaves >= 2 and min(self.past, self.l2) >= 0 and self.rate > 0):
            wanted = "rounds, 2 leaves and examples to learn from, and a rate above 0"
            raise ConfigError(f"Boosted wants {wanted}; got {self}")
        if not 0 < self.prior < 1:
            raise ConfigError(f"Boosted wants a prior inside (0, 1); got {self.prior}")

    def bind(self, names: tuple[str, ...]) -> BoostedLearner:
        return BoostedLearner(self, names)


def _library() -> Any:
    try:
        return importlib.import_module("lightgbm")
    except ImportError as error:
        raise ConfigError(
            f"Boosted wants LightGBM ({error}); install it by: uv sync --extra boost"
        ) from error


def grown(model: Boosted, x: Floats, y: Labels, weight: Floats) -> Any:
    """LightGBM's own model of these examples: the same ones give the same bits."""
    library = _library()
    parameters = {
        "objective": "binary",
        "num_leaves": model.leaves,
        "learning_rate": model.rate,
        "min_data_in_leaf": model.least,
        "lambda_l2": model.l2,
        "seed": model.seed,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    examples = library.Dataset(x, y, weight=weight, params=parameters)
    return library.train(parameters, examples, model.rounds)


def export(text: str, links: trees.Links, numbers: Floats) -> None:
    """Put the trees of LightGBM's text into arrays, which say 0 where it has fewer."""
    links[:], numbers[:] = 0, 0
    for place, tree in enumerate(text.split("\nTree=")[1:]):
        lines = tree.split("\n\n", 1)[0].splitlines()[1:]
        words = dict(line.split("=", 1) for line in lines if "=" in line)
        leaf = np.array(words["leaf_value"].split(), np.float64)
        inner = len(leaf) - 1
        if not inner:
            numbers[place, 0, trees.VALUE] = leaf[0]
            continue
        feature, left, right, kind, count, below = (
            np.array(words[name].split(), np.int64)
            for name in (
                "split_feature",
                "left_child",
                "right_child",
                "decision_type",
                "leaf_count",
                "internal_count",
            )
        )
        cut = np.array(words["threshold"].split(), np.float64)
        # Where no value was missing when the tree was made, LightGBM takes a missing one for 0.
        missing_left = np.where(kind >> 2 & 3 == _NAN, kind >> 1 & 1 > 0, cut >= 0)
        children = [np.where(side < 0, inner + ~side, side) for side in (left, right)]
        value = np.append(np.zeros(inner), leaf)
        count = np.append(below, count).astype(np.float64)
        for node in range(inner)[::-1]:
            ends = [child[node] for child in children]
            value[node] = (value[ends] * count[ends]).sum() / count[ends].sum()
        nowhere = np.full(len(leaf), -1)
        trees.put(
            np.append(children[0], nowhere), np.append(children[1], nowhere),
            np.append(feature, nowhere), np.append(missing_left, nowhere > 0),
            np.append(cut, leaf), value, links[place], numbers[place],
        )  # fmt: skip


class BoostedLearner:
    """Trees, and the examples that the next ones are made from. See `models.base.Learner`."""

    def __init__(self, model: Boosted, names: tuple[str, ...]) -> None:
        _library()
        self.names, self._model = names, model
        self._recent = Recent(
            names,
            model.inputs,
            "Boosted",
            latest=model.latest,
            past=model.past,
            after=model.after,
            every=model.every,
            seed=model.seed,
        )
        self._links, self._numbers = trees.room(model.rounds, 2 * model.leaves - 1)
        self._base = np.array([math.log(model.prior / (1 - model.prior))])
        # What positives weigh is taken back from the trees, whatever it was when they were made.
        self._calibration = replace(model.calibration, positive_weight=1.0).start()

    def learn_many(self, x: Floats, y: Labels, weight: Floats) -> None:
        for rows, due in self._recent.take(x, y, weight):
            raw = _raw(x[rows], self._recent.columns, self._links, self._numbers, self._base)
            observe_many(self._calibration, raw, y[rows], weight[rows])
            if due:
                self._grow()

    def retrain(self) -> None:
        self._grow()

    def _grow(self) -> None:
        x, y, weight = self._recent.examples()
        if not len(y) or y.min() == y.max():
            return
        positive = self._model.calibration.positive_weight
        heavier = weight[y == 0].sum() / weight[y > 0].sum() if positive == "balanced" else positive
        weight = np.where(y > 0, weight * heavier, weight)
        booster = grown(self._model, x, y, weight)
        export(booster.model_to_string(), self._links, self._numbers)
        self._base[0] = -math.log(heavier)

    def version(self) -> BoostedVersion:
        return BoostedVersion(
            self.names,
            self._recent.columns,
            links=self._links.copy(),
            numbers=self._numbers.copy(),
            number=self._base.copy(),
            calibration=publish(self._calibration),
        )

    def _parts(self) -> Tensors:
        return self._recent.parts() | {
            "links": self._links,
            "numbers": self._numbers,
            "base": self._base,
            "calibration": self._calibration,
        }

    def _fixed(self) -> Tensors:
        model = self._model
        settings = [model.rate, model.least, model.l2, model.every, model.seed]
        return {"columns": np.array(self._recent.columns), "settings": np.array(settings, float)}

    def state(self) -> Tensors:
        return {name: part.copy() for name, part in (self._parts() | self._fixed()).items()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        restore(self._parts(), self._fixed(), state, "Boosted")


def _raw(
    x: Floats, columns: list[int], links: trees.Links, numbers: Floats, base: Floats
) -> Floats:
    """The log-odds of rows as positives weigh what they are."""
    out = np.empty(len(x))
    trees.total(read(x[:, columns]), links, numbers, out)
    out += base
    return out


def read(x: Floats) -> Floats:
    """Inputs as LightGBM reads them."""
    own = np.ascontiguousarray(x)
    return np.where(np.abs(own) <= _NOTHING, 0.0, own)


class BoostedVersion(TreeVersion):
    """`Boosted` trees as they score. See `models.base.Version`.

    The sum of the trees is LightGBM's own, to the bit.
    """

    kind, model, word = "boosted", "Boosted", "base"

    def _raw(self, x: Floats) -> Floats:
        return _raw(x, self._columns, self._links, self._numbers, self._number)

    def _parts(self, x: Floats) -> Floats:
        parts = np.empty((len(x), len(self._columns) + 1))
        trees.contributions(read(x[:, self._columns]), self._links, self._numbers, parts)
        parts[:, -1] += self._number
        return parts
