"""Any River classifier or pipeline as a model: `River(linear_model.LogisticRegression())`.

River (Montiel et al., 2021) learns from dicts one event at a time; this adapter turns rows into
dicts and back. It is as fast as River is, and gives the very numbers that River's own loop gives.
The other way round, `for_river(Forest())` is a River classifier.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from models import fenced
from models.base import Floats, Labels, Model, Tensors, examine
from models.calibration import (
    CURVE,
    THRESHOLD,
    Calibrated,
    Calibration,
    blank,
    importance,
    observe,
    publish,
    score_many,
)
from models.contributions import Contributing, by_leaving_out
from models.state import restore
from streams.errors import ConfigError, StateError

Missing = Literal["drop", "none"]
_CERTAIN = 1e-15
_AS_IT_IS = Calibration()


@dataclass(frozen=True, slots=True)
class River:
    """A River estimator with `learn_one` and `predict_proba_one`; the one given is never changed.

    `missing`: "drop" leaves a missing input out of the dict, "none" gives it as None. Learning an
    example of a weight other than 1 needs an estimator whose `learn_one` takes `w`. How large it
    may grow is the estimator's own affair: trees of River, and forests of them, grow as they learn.

    >>> from river import linear_model, preprocessing
    >>> model = River(preprocessing.StandardScaler() | linear_model.LogisticRegression())
    >>> learner = model.bind(("amount",))
    >>> learner.learn_many(np.array([[5.0], [900.0]]), np.array([0, 1], np.int8), np.ones(2))
    >>> low, high = learner.version().predict_many(np.array([[5.0], [900.0]]))
    >>> bool(low < high)
    True
    """

    estimator: Any
    missing: Missing = "drop"
    calibration: Calibration = _AS_IT_IS

    def __post_init__(self) -> None:
        for method in ("learn_one", "predict_proba_one"):
            if not hasattr(self.estimator, method):
                raise ConfigError(
                    f"River wants a River classifier, with {method}; got {self.estimator!r}. "
                    "River itself is installed by: uv sync --extra river"
                )

    def bind(self, names: tuple[str, ...]) -> RiverLearner:
        return RiverLearner(self, names)


def for_river(model: Model, features: tuple[str, ...] | None = None, every: int = 1) -> Any:
    """One of our models as a River classifier; the arguments are `RiverClassifier`'s.

    >>> from models.linear import Linear
    >>> round(for_river(Linear()).predict_proba_one({"amount": 5.0})[True], 9)
    0.01
    """
    try:
        wrapped = importlib.import_module("models.for_river").RiverClassifier
    except ImportError as error:
        raise ConfigError(
            f"for_river wants River ({error}); install it by: uv sync --extra river"
        ) from error
    return wrapped(model, features, every)


def _dicts(names: tuple[str, ...], x: Floats, missing: Missing) -> list[dict[str, Any]]:
    """Each row as River takes it."""
    examine(names, x)
    if missing == "none":
        none = [[None if math.isnan(value) else value for value in row] for row in x.tolist()]
        return [dict(zip(names, row, strict=True)) for row in none]
    pairs = (zip(names, row, strict=True) for row in x.tolist())
    return [{name: value for name, value in row if not math.isnan(value)} for row in pairs]


def _probability(estimator: Any, row: Mapping[str, Any]) -> float:
    """River's probability of True, held inside (0, 1); one that is not a number knows nothing."""
    given = float(estimator.predict_proba_one(row).get(True, 0.0))
    return 0.5 if math.isnan(given) else min(max(given, _CERTAIN), 1.0 - _CERTAIN)


def _log_odds(probability: float) -> float:
    return math.log(probability) - math.log1p(-probability)


def _takes_weight(estimator: Any) -> bool:
    steps = getattr(estimator, "steps", None)
    last = list(steps.values())[-1] if steps else estimator
    return "w" in inspect.signature(last.learn_one).parameters


class RiverLearner:
    """A River estimator that learns. See `models.base.Learner`."""

    def __init__(self, model: River, names: tuple[str, ...]) -> None:
        self.names = names
        self._estimator = fenced.loads(fenced.dumps(model.estimator))
        self._missing: Missing = model.missing
        self._takes_weight = _takes_weight(self._estimator)
        self._calibration = model.calibration.start()

    def learn_many(self, x: Floats, y: Labels, weight: Floats) -> None:
        rows = _dicts(self.names, x, self._missing)
        for row, label, count in zip(rows, y.tolist(), weight.tolist(), strict=True):
            raw = _log_odds(_probability(self._estimator, row))
            heavy = importance(self._calibration, label, count)
            observe(self._calibration, raw, label, count)
            self._learn(row, bool(label), heavy)

    def _learn(self, row: dict[str, Any], label: bool, weight: float) -> None:
        if weight == 1:
            self._estimator.learn_one(row, label)
        elif self._takes_weight:
            self._estimator.learn_one(row, label, w=weight)
        else:
            raise ConfigError(
                f"{type(self._estimator).__name__} takes no weights and was handed {weight}; "
                "leave positive_weight at 1 and hand it examples of weight 1"
            )

    def version(self) -> RiverVersion:
        return RiverVersion(
            self.names, self._missing, fenced.dumps(self._estimator), publish(self._calibration)
        )

    def state(self) -> Tensors:
        estimator = np.frombuffer(fenced.dumps(self._estimator), np.uint8)
        return {"estimator": estimator.copy(), "calibration": self._calibration.copy()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        rest = {name: part for name, part in state.items() if name != "estimator"}
        estimator = fenced.loads(_pickled(state))
        if str(estimator) != str(self._estimator):
            raise StateError(
                f"River: the state is of {estimator}; this pipeline names {self._estimator}. "
                "Start without it or name the estimator that made it"
            )
        restore({"calibration": self._calibration}, {}, rest, "River")
        self._estimator = estimator


def _pickled(tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    if "estimator" not in tensors:
        raise StateError(f"River: the state should hold an estimator; it holds {sorted(tensors)}")
    return tensors["estimator"].tobytes()


class RiverVersion(Calibrated, Contributing):
    """A River estimator as it was at one moment. See `models.base.Version`."""

    kind: ClassVar[str] = "river"

    def __init__(
        self, names: tuple[str, ...], missing: Missing, estimator: bytes, calibration: Floats
    ) -> None:
        self.names, self._missing, self._calibration = names, missing, calibration
        self._raw = estimator
        self._estimator = fenced.loads(estimator)
        self._plain = (
            calibration[:THRESHOLD].tolist() == [0.0, 1.0, 0.0] and len(calibration) == CURVE
        )

    def predict_many(self, x: Floats) -> Floats:
        rows = _dicts(self.names, x, self._missing)
        given = np.array([_probability(self._estimator, row) for row in rows], np.float64)
        return given if self._plain else self._calibrated(given)

    def _calibrated(self, given: Floats) -> Floats:
        out = np.array([_log_odds(probability) for probability in given.tolist()], np.float64)
        score_many(self._calibration, out, out)
        return out

    def contributions_many(self, x: Floats) -> Floats:
        return by_leaving_out(self.predict_many, x)

    def tensors(self) -> Tensors:
        estimator = np.frombuffer(self._raw, np.uint8)
        return {"estimator": estimator, "calibration": self._calibration}

    def config(self) -> dict[str, Any]:
        return {"names": list(self.names), "missing": self._missing}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        calibration = blank(tensors)
        rest = {name: part for name, part in tensors.items() if name != "estimator"}
        restore({"calibration": calibration}, {}, rest, "River")
        return cls(tuple(config["names"]), config["missing"], _pickled(tensors), calibration)
