"""Nearest neighbours: what follows a new law after some tens of examples.

An event's probability is the share of positives among the latest examples, each weighted by a
Gaussian kernel of its distance (Nadaraya, 1964; Watson, 1964), whose width narrows as examples grow
in number by Scott's rule (*Multivariate Density Estimation*, 1992). Inputs are compared by their
ranks (`models.ranks`), so that units do not matter and a missing value is near to other missing
ones. Losing, Hammer and Wersing's *KNN Classifier with Self Adjusting Memory*, 2016, shows how well
neighbours do where concepts drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from models.base import Floats, Labels, Tensors, examine
from models.calibration import (
    Calibrated,
    Calibration,
    blank,
    importances,
    observe_many,
    publish,
    score_many,
)
from models.contributions import Contributing, by_leaving_out
from models.ranks import Ranks, Singles, no_knots, ranks_of
from models.state import restore
from streams.errors import ConfigError
from streams.jit import kernel

Ints = npt.NDArray[np.int64]

_WIDTH, _SMOOTHING, _PRIOR = range(3)
"""What neighbours are weighed by."""
_NEGATIVE, _POSITIVE = range(2)
"""What an example that is kept weighs, as one of either."""


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The share of positives near an event, among the `latest` examples.

    `inputs`: names of the inputs it looks at; all of the pipeline when empty. `width`: of the
    kernel, in ranks, as it would be of one example. `smoothing`: how many examples of share `prior`
    are as near as can be. Inputs are ranked among the first `learnt_after` examples, as of a
    `Forest`. Scoring goes through all that are kept, of 16 bytes each and 4 an input.

    >>> learner = Neighbours().bind(("amount",))
    >>> x = np.array([[900.0], [5.0], [800.0], [7.0]])
    >>> learner.learn_many(x, np.array([1, 0, 1, 0], np.int8), np.ones(4))
    >>> (learner.version().predict_many(x) > 0.5).tolist()
    [True, False, True, False]
    """

    inputs: tuple[str, ...] = ()
    latest: int = 500
    learnt_after: int = 1000
    width: float = 0.15
    smoothing: float = 0.1
    prior: float = 0.5
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        sizes = min(self.latest, self.learnt_after) >= 1 and min(self.width, self.smoothing) > 0
        if not (sizes and 0 < self.prior < 1):
            wanted = "examples to keep and to rank by, width and smoothing, and a prior in (0, 1)"
            raise ConfigError(f"Neighbours wants {wanted}; got {self}")

    def bind(self, names: tuple[str, ...]) -> NeighboursLearner:
        return NeighboursLearner(self, names)


@kernel()
def _log_odds(
    z: Singles, row: int, kept: Singles, known: Floats, count: int, rates: Floats
) -> float:
    """Of one row, by the first `count` examples that are kept."""
    inputs = kept.shape[1]
    width = rates[_WIDTH] * max(count, 1) ** (-1.0 / (4.0 + inputs))
    steep = 0.5 / (width * width)
    positive = rates[_SMOOTHING] * rates[_PRIOR]
    negative = rates[_SMOOTHING] - positive
    for at in range(count):
        apart = 0.0
        for i in range(inputs):
            gap = float(np.float64(z[row, i]) - np.float64(kept[at, i]))
            apart += gap * gap
        near = np.exp(-steep * apart)
        negative += near * known[at, _NEGATIVE]
        positive += near * known[at, _POSITIVE]
    return float(np.log(positive / negative))


@kernel(
    "void(float32[:, ::1], int8[::1], float64[::1], float64[::1], float32[:, ::1],"
    " float64[:, ::1], int64[::1], float64[::1])"
)
def learn(
    z: Singles, y: Labels, weight: Floats, rates: Floats, kept: Singles, known: Floats,
    seen: Ints, out: Floats,
) -> None:  # fmt: skip
    """Log-odds of each row of z (n, F) into out (n,), then keep it in place of the oldest."""
    for row in range(len(z)):
        out[row] = _log_odds(z, row, kept, known, min(seen[0], len(kept)), rates)
        at = seen[0] % len(kept)
        kept[at], known[at] = z[row], 0.0
        known[at, np.int64(y[row])] = weight[row]
        seen[0] += 1


@kernel("void(float32[:, ::1], float32[:, ::1], float64[:, ::1], float64[::1], float64[::1])")
def predict(z: Singles, kept: Singles, known: Floats, rates: Floats, out: Floats) -> None:
    """Log-odds of each row of z (n, F) into out (n,)."""
    for row in range(len(z)):
        out[row] = _log_odds(z, row, kept, known, len(kept), rates)


class NeighboursLearner:
    """The latest examples. See `models.base.Learner`."""

    def __init__(self, model: Neighbours, names: tuple[str, ...]) -> None:
        self.names = names
        self._ranks = Ranks(names, model.inputs, model.learnt_after, "Neighbours")
        self._rates = np.array([model.width, model.smoothing, model.prior])
        self._kept = np.zeros((model.latest, len(self._ranks.columns)), np.float32)
        self._known = np.zeros((model.latest, 2))
        self._seen = np.zeros(1, np.int64)
        self._model = model
        self._calibration = model.calibration.start()

    def learn_many(self, x: Floats, y: Labels, weight: Floats) -> None:
        for anew, ranks, labels, weights in self._ranks.learnable(x, y, weight):
            if anew:
                self._seen[0] = 0
                self._calibration[:] = self._model.calibration.start()
            raw, heavy = np.empty(len(ranks)), np.empty(len(ranks))
            importances(self._calibration, labels, weights, heavy)
            learn(ranks, labels, heavy, self._rates, self._kept, self._known, self._seen, raw)
            observe_many(self._calibration, raw, labels, weights)

    def version(self) -> NeighboursVersion:
        count = min(int(self._seen[0]), len(self._kept))
        return NeighboursVersion(
            self.names,
            self._ranks.columns,
            knots=self._ranks.knots,
            kept=self._kept[:count].copy(),
            known=self._known[:count].copy(),
            rates=self._rates,
            calibration=publish(self._calibration),
        )

    def _parts(self) -> Tensors:
        return self._ranks.parts() | {
            "kept": self._kept,
            "known": self._known,
            "places": self._seen,
            "calibration": self._calibration,
        }

    def _fixed(self) -> Tensors:
        return {"rates": self._rates, "columns": np.array(self._ranks.columns)}

    def state(self) -> Tensors:
        return {name: part.copy() for name, part in (self._parts() | self._fixed()).items()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        restore(self._parts(), self._fixed(), state, "Neighbours")


class NeighboursVersion(Calibrated, Contributing):
    """A `Neighbours` as it scores. See `models.base.Version`."""

    kind: ClassVar[str] = "neighbours"

    def __init__(
        self,
        names: tuple[str, ...],
        columns: list[int],
        *,
        knots: Floats,
        kept: Singles,
        known: Floats,
        rates: Floats,
        calibration: Floats,
    ) -> None:
        self.names, self._columns, self._knots = names, columns, knots
        self._kept, self._known, self._rates = kept, known, rates
        self._calibration = calibration

    def predict_many(self, x: Floats) -> Floats:
        examine(self.names, x)
        ranks = ranks_of(np.ascontiguousarray(x[:, self._columns]), self._knots)
        out = np.empty(len(x))
        predict(ranks, self._kept, self._known, self._rates, out)
        score_many(self._calibration, out, out)
        return out

    def contributions_many(self, x: Floats) -> Floats:
        examine(self.names, x)
        return by_leaving_out(self.predict_many, x)

    def tensors(self) -> Tensors:
        return {
            "knots": self._knots,
            "kept": self._kept,
            "known": self._known,
            "rates": self._rates,
            "calibration": self._calibration,
        }

    def config(self) -> dict[str, Any]:
        return {"names": list(self.names), "columns": list(self._columns)}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        columns = [int(each) for each in config["columns"]]
        count = len(tensors.get("known", ()))
        version = cls(
            tuple(config["names"]),
            columns,
            knots=no_knots(len(columns)),
            kept=np.empty((count, len(columns)), np.float32),
            known=np.empty((count, 2)),
            rates=np.empty(3),
            calibration=blank(tensors),
        )
        restore(version.tensors(), {}, tensors, "Neighbours")
        return version
