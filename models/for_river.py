"""A model as a River classifier, for whoever lives with River: `headrace.for_river(Forest())`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from river import base

from models.anomaly import HalfSpaceTrees
from models.base import Floats, Labels, Learner, Model, Version
from models.forest import Forest
from models.linear import Linear

_MISSING = math.nan


class RiverClassifier(base.Classifier):
    """Any of our models, learning and predicting one event at a time as River's do.

    `features`: the names of its inputs; those of the first example it learns if None. Others are
    not looked at, absent ones and None are missing. `every`: predictions are by a version that
    has learnt all but the latest so many examples; a version of a large model takes longer to make
    than one event to learn.

    >>> model = RiverClassifier(Linear(bits=8))
    >>> for _ in range(300):
    ...     model.learn_one({"amount": 900.0}, True)
    ...     model.learn_one({"amount": 5.0}, False)
    >>> model.predict_one({"amount": 900.0}), model.predict_one({"amount": 5.0})
    (True, False)
    """

    def __init__(
        self, model: Model, features: tuple[str, ...] | None = None, every: int = 1
    ) -> None:
        self.model, self.features, self.every = model, features, every
        self._names = features or ()
        self._learner: Learner | None = None
        self._version: Version | None = None
        self._since = 0

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"model": Linear(bits=10)}
        yield {"model": Forest(trees=2, nodes=255, learnt_after=30)}
        yield {"model": HalfSpaceTrees(trees=5, height=5, window=50, learnt_after=30)}

    def learn_one(self, x: Mapping[Any, Any], y: Any, w: float = 1.0) -> None:
        """Learn an event with its label, False or True; it counts as `w` examples."""
        if y not in (0, 1):
            raise ValueError(f"wanted a label of False or True; got {y!r}")
        if self._learner is None:
            self._names = self.features or tuple(sorted(map(str, x)))
            self._learner = self.model.bind(self._names)
            self._version = self._learner.version()
        label: Labels = np.array([y], np.int8)
        self._learner.learn_many(self._row(x, self._names), label, np.array([float(w)]))
        self._since += 1
        if self._since >= self.every:
            self._version, self._since = None, 0

    def predict_proba_one(
        self, x: Mapping[Any, Any], **kwargs: Any
    ) -> dict[base.typing.ClfTarget, float]:
        """The probabilities of False and True."""
        if self._learner is None:
            names = self.features or tuple(sorted(map(str, x)))
            version = self.model.bind(names).version()
        else:
            names = self._names
            version = self._version = self._version or self._learner.version()
        share = float(version.predict_many(self._row(x, names))[0])
        return {False: 1.0 - share, True: share}

    def _row(self, x: Mapping[Any, Any], names: tuple[str, ...]) -> Floats:
        given = {str(name): value for name, value in x.items()}
        values = [given.get(name) for name in names]
        return np.array([[_MISSING if value is None else float(value) for value in values]])
