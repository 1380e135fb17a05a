"""An isolation forest: how few cuts it takes to set an event apart, with no need of a label.

Liu, Ting and Zhou, *Isolation Forest*, 2008. It is made anew on a cadence, by scikit-learn, from
the latest examples; what scores needs no scikit-learn.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from models.contributions import through
from models.recent import Recent
from models.state import restore
from models.tree_version import TreeVersion
from streams.errors import ConfigError
from streams.jit import kernel

_PLATT = Calibration(platt=True)
_RARE = float(np.log(0.01 / 0.99))
_LARGEST = 1e37
"""Beyond it numbers are as this one: the trees compare numbers of half the length."""


@dataclass(frozen=True, kw_only=True)
class IsolationForest:
    """`trees` trees, each of `sample` examples of the latest `latest`; from the extra `boost`.

    They are made anew after the first `after` examples, then each time as many have come as had
    come until then, at most `every`. `inputs` and `seed` as of `Forest`. Labels serve to calibrate
    the score to a probability, and for nothing else. Memory: 8 bytes a number of an example kept,
    and 28 a node, of which a tree has twice as many as examples. What learns pays for making the
    trees where it is called.

    >>> model = IsolationForest(latest=200, after=200)
    >>> learner = model.bind(("amount",))
    >>> learner.learn_many(np.arange(200.0)[:, None] * 7 % 9, np.zeros(200, np.int8), np.ones(200))
    >>> usual, odd = learner.version().predict_many(np.array([[5.0], [500.0]]))
    >>> bool(usual < odd)
    True
    """

    inputs: tuple[str, ...] = ()
    trees: int = 100
    sample: int = 256
    after: int = 1000
    every: int = 10_000
    latest: int = 10_000
    seed: int = 0
    calibration: Calibration = _PLATT

    def __post_init__(self) -> None:
        if min(self.trees, self.after, self.every, self.latest, self.sample - 1) < 1:
            wanted = "trees of 2 examples or more, and examples to make them from"
            raise ConfigError(f"IsolationForest wants {wanted}; got {self}")

    def bind(self, names: tuple[str, ...]) -> IsolationLearner:
        return IsolationLearner(self, names)


def _library() -> Any:
    try:
        return importlib.import_module("sklearn.ensemble")
    except ImportError as error:
        raise ConfigError(
            f"IsolationForest wants scikit-learn ({error}); install it by: uv sync --extra boost"
        ) from error


def read(x: Floats) -> Floats:
    """Inputs as the trees read them: in half the length."""
    own = np.ascontiguousarray(np.clip(x, -_LARGEST, _LARGEST), np.float32)
    return own.astype(np.float64)


def grown(model: IsolationForest, x: Floats) -> Any:
    """Scikit-learn's own model of these examples: the same ones give the same bits."""
    forest = _library().IsolationForest(
        n_estimators=model.trees, max_samples=min(model.sample, len(x)), random_state=model.seed
    )
    return forest.fit(read(x))


def expected(n: Floats) -> Floats:
    """How many cuts it takes on average to set one of n apart."""
    many = np.maximum(n, 3.0) - 1.0
    cuts = 2.0 * (np.log(many) + np.euler_gamma) - 2.0 * many / (many + 1.0)
    return np.where(n <= 1, 0.0, np.where(n == 2, 1.0, cuts))


def export(forest: Any, links: trees.Links, numbers: Floats) -> None:
    """Put scikit-learn's trees into arrays. What a leaf says is how deep it is."""
    links[:], numbers[:] = 0, 0
    for place, each in enumerate(forest.estimators_):
        own = each.tree_
        left, right = own.children_left.astype(np.int64), own.children_right.astype(np.int64)
        count = own.n_node_samples.astype(np.float64)
        value = own.compute_node_depths() + expected(count) - 1.0
        for node in np.flatnonzero(left >= 0)[::-1]:
            ends = [left[node], right[node]]
            value[node] = (value[ends] * count[ends]).sum() / count[ends].sum()
        trees.put(
            left, right, own.feature.astype(np.int64),
            own.missing_go_to_left.astype(np.bool_), own.threshold.astype(np.float64),
            value, links[place], numbers[place],
        )  # fmt: skip


class IsolationLearner:
    """Trees, and the examples that the next ones are made from. See `models.base.Learner`."""

    def __init__(self, model: IsolationForest, names: tuple[str, ...]) -> None:
        _library()
        self.names, self._model = names, model
        self._recent = Recent(
            names,
            model.inputs,
            "IsolationForest",
            latest=model.latest,
            past=0,
            after=model.after,
            every=model.every,
            seed=model.seed,
        )
        self._links, self._numbers = trees.room(model.trees, 2 * model.sample - 1)
        self._numbers[:, 0, trees.VALUE] = 1.0
        self._usual = np.ones(1)
        self._calibration = replace(model.calibration, positive_weight=1.0).start()

    def learn_many(self, x: Floats, y: Labels, weight: Floats) -> None:
        for rows, due in self._recent.take(x, y, weight):
            raw = _raw(x[rows], self._recent.columns, self._links, self._numbers, self._usual)
            observe_many(self._calibration, raw, y[rows], weight[rows])
            if due:
                self._grow()

    def retrain(self) -> None:
        self._grow()

    def _grow(self) -> None:
        x, _, _ = self._recent.examples()
        if len(x) < 2:
            return
        forest = grown(self._model, x)
        export(forest, self._links, self._numbers)
        self._usual[:] = expected(np.array([float(forest.max_samples_)]))

    def version(self) -> IsolationVersion:
        return IsolationVersion(
            self.names,
            self._recent.columns,
            links=self._links.copy(),
            numbers=self._numbers.copy(),
            number=self._usual.copy(),
            calibration=publish(self._calibration),
        )

    def _parts(self) -> Tensors:
        return self._recent.parts() | {
            "links": self._links,
            "numbers": self._numbers,
            "usual": self._usual,
            "calibration": self._calibration,
        }

    def _fixed(self) -> Tensors:
        settings = np.array([self._model.every, self._model.seed])
        return {"columns": np.array(self._recent.columns), "settings": settings}

    def state(self) -> Tensors:
        return {name: part.copy() for name, part in (self._parts() | self._fixed()).items()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        restore(self._parts(), self._fixed(), state, "IsolationForest")


@kernel("void(float64[::1], float64)")
def _rarity(depths: Floats, usual: float) -> None:
    """Sums of depths to raw log-odds, in place: those of the authors' score, less what is usual."""
    for row in range(len(depths)):
        depths[row] = _RARE - np.log(2.0 ** (depths[row] / usual) - 1.0)


def _raw(
    x: Floats, columns: list[int], links: trees.Links, numbers: Floats, usual: Floats
) -> Floats:
    out = np.empty(len(x))
    trees.total(read(x[:, columns]), links, numbers, out)
    _rarity(out, len(links) * usual[0])
    return out


class IsolationVersion(TreeVersion):
    """An `IsolationForest` as it scores. See `models.base.Version`."""

    kind, model, word = "isolation forest", "IsolationForest", "usual"

    def _raw(self, x: Floats) -> Floats:
        return _raw(x, self._columns, self._links, self._numbers, self._number)

    def _parts(self, x: Floats) -> Floats:
        parts = np.empty((len(x), len(self._columns) + 1))
        trees.contributions(read(x[:, self._columns]), self._links, self._numbers, parts)
        through(parts, self._rarities)
        return parts

    def _rarities(self, depths: Floats) -> Floats:
        out = depths.copy()
        _rarity(out, len(self._links) * self._number[0])
        return out
