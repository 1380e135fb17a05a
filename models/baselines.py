"""What a champion has to beat, reported beside it: the prior, a rule on one input, chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from models.base import Floats, Labels, Reasons, Tensors, column, examine
from models.calibration import (
    INTERCEPT,
    SLOPE,
    Calibrated,
    Calibration,
    blank,
    calibrate,
    observe_many,
    publish,
    score_many,
)
from models.contributions import Contributing
from models.intervals import bounds
from models.state import restore
from streams.errors import ConfigError
from streams.ident import mix
from streams.jit import kernel

_RARE = math.log(0.01 / 0.99)
_GENTLE = 0.1
_PLATT = Calibration(platt=True)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_MAGNITUDE = np.uint64(0x7FFFFFFFFFFFFFFF)
_INFINITE = np.uint64(0x7FF0000000000000)
"""Of the bits of a float: all but the sign, and those of infinity; above that it is no number."""


@dataclass(frozen=True, slots=True)
class Prior:
    """The running share of positives, the same for every event; `share` is what it starts from.

    `negative_rate` is the share of negatives that the pipeline samples and hands to the learner.

    >>> learner = Prior().bind(("amount",))
    >>> learner.learn_many(np.zeros((99, 1)), np.array([1] + [0] * 98, np.int8), np.ones(99))
    >>> learner.version().predict_many(np.zeros((1, 1))).round(4).tolist()
    [0.0101]
    """

    share: float = 0.01
    negative_rate: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.share < 1 and 0 < self.negative_rate <= 1):
            raise ConfigError(f"Prior wants a share in (0, 1) and a rate in (0, 1]; got {self}")

    def bind(self, names: tuple[str, ...]) -> PriorLearner:
        return PriorLearner(self, names)


class PriorLearner:
    """How many positives among how many. See `models.base.Learner`."""

    def __init__(self, model: Prior, names: tuple[str, ...]) -> None:
        self.names = names
        self._negative_count = 1.0 / model.negative_rate
        self._first = model.share
        self._counts = np.array([model.share, 1.0])

    def learn_many(self, x: Floats, y: Labels, weight: Floats) -> None:
        examine(self.names, x)
        _count(y, weight, self._negative_count, self._counts)

    def version(self) -> PriorVersion:
        return PriorVersion(self.names, self._share())

    def _share(self) -> Floats:
        """The share, and the interval of `models.intervals` of what was counted of it."""
        share = self._counts[0] / self._counts[1]
        positive = self._counts[0] - self._first
        negative = (self._counts[1] - 1.0 - positive) / self._negative_count
        seen, table = np.array([positive + negative]), np.empty((1, 2))
        bounds(seen, np.array([positive]), 1.0 / self._negative_count, table)
        return np.array([share, *table[0]])

    def state(self) -> Tensors:
        return {"counts": self._counts.copy(), "negative_count": np.array([self._negative_count])}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        fixed = {"negative_count": np.array([self._negative_count])}
        restore({"counts": self._counts}, fixed, state, "Prior")


class PriorVersion:
    """One probability for all. See `models.base.Version`."""

    kind: ClassVar[str] = "prior"

    def __init__(self, names: tuple[str, ...], share: Floats) -> None:
        self.names, self._share = names, share

    @property
    def threshold(self) -> float:
        return 1.0

    def predict_many(self, x: Floats) -> Floats:
        examine(self.names, x)
        return np.full(len(x), self._share[0])

    def reasons_many(self, x: Floats, k: int) -> Reasons:
        examine(self.names, x)
        return np.full((len(x), k), -1, np.int16)

    def contributions_many(self, x: Floats) -> Floats:
        examine(self.names, x)
        out = np.zeros((len(x), len(self.names) + 1))
        out[:, -1] = math.log(self._share[0]) - math.log1p(-self._share[0])
        return out

    def intervals_many(self, scores: Floats) -> Floats:
        """Of the share itself, whatever is scored."""
        return np.tile(self._share[1:], (len(scores), 1))

    def tensors(self) -> Tensors:
        return {"share": self._share}

    def config(self) -> dict[str, Any]:
        return {"names": list(self.names)}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        version = cls(tuple(config["names"]), np.empty(3))
        restore(version.tensors(), {}, tensors, "Prior")
        return version


@dataclass(frozen=True, slots=True)
class AmountRule:
    """The larger the input, the likelier: what a rule on the amount alone achieves, calibrated."""

    input: str = "amount"
    calibration: Calibration = _PLATT

    def bind(self, names: tuple[str, ...]) -> RuleLearner:
        where = column(names, self.input, "AmountRule")
        return RuleLearner(names, "amount-rule", where, self.calibration)


@dataclass(frozen=True, slots=True)
class Random:
    """An order by chance, the same for the same inputs and seed; only the level is learnt."""

    seed: int = 0
    calibration: Calibration = _PLATT

    def bind(self, names: tuple[str, ...]) -> RuleLearner:
        return RuleLearner(names, "random", self.seed, self.calibration)


@kernel("void(int8[::1], float64[::1], float64, float64[::1])")
def _count(y: Labels, weight: Floats, negative_count: float, counts: Floats) -> None:
    for i in range(len(y)):
        count = weight[i] if y[i] > 0 else weight[i] * negative_count
        counts[0] += count * y[i]
        counts[1] += count


@kernel("void(float64[:, ::1], int64, float64[::1])")
def _magnitude(x: Floats, where: int, out: Floats) -> None:
    """The logarithm of one input, of either sign; 0 where missing."""
    for row in range(len(x)):
        value = x[row, where]
        size = np.log1p(abs(value))
        out[row] = 0.0 if np.isnan(value) else (-size if value < 0 else size)


@kernel("void(uint64[:, ::1], int64, float64[::1])")
def _chance(x: npt.NDArray[np.uint64], seed: int, out: Floats) -> None:
    """The log-odds of a uniform draw by a hash of the bits of what a row has."""
    start = mix(np.uint64(seed) + _ODD)
    for row in range(len(x)):
        drawn = start
        for i in range(x.shape[1]):
            if (x[row, i] & _MAGNITUDE) <= _INFINITE:
                drawn = (drawn ^ x[row, i]) * _ODD
                drawn ^= drawn >> np.uint64(32)
        drawn = mix(drawn)
        uniform = (np.float64(drawn >> np.uint64(11)) + 0.5) / 2.0**53
        out[row] = np.log(uniform / (1.0 - uniform))


def _raw_chance(x: Floats, seed: int, out: Floats) -> None:
    _chance(x.view(np.uint64), seed, out)


_RAW: dict[str, Callable[[Floats, int, Floats], None]] = {
    "amount-rule": _magnitude,
    "random": _raw_chance,
}


def _raw(rule: str, names: tuple[str, ...], setting: int, x: Floats) -> Floats:
    examine(names, x)
    out = np.empty(len(x))
    _RAW[rule](x, setting, out)
    return out


class RuleLearner:
    """A fixed rule whose level and slope are learnt. See `models.base.Learner`."""

    def __init__(
        self, names: tuple[str, ...], rule: str, setting: int, calibration: Calibration
    ) -> None:
        self.names, self._rule, self._setting = names, rule, setting
        self._calibration = calibration.start()
        self._calibration[SLOPE], self._calibration[INTERCEPT] = _GENTLE, _RARE

    def learn_many(self, x: Floats, y: Labels, weight: Floats) -> None:
        observe_many(self._calibration, _raw(self._rule, self.names, self._setting, x), y, weight)

    def version(self) -> RuleVersion:
        published = publish(self._calibration)
        return RuleVersion(self.names, self._rule, self._setting, published)

    def state(self) -> Tensors:
        return {"calibration": self._calibration.copy(), "setting": np.array([self._setting])}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        fixed = {"setting": np.array([self._setting])}
        restore({"calibration": self._calibration}, fixed, state, self._rule)


class RuleVersion(Calibrated, Contributing):
    """A fixed rule at a learnt level. See `models.base.Version`."""

    kind: ClassVar[str] = "rule"

    def __init__(
        self, names: tuple[str, ...], rule: str, setting: int, calibration: Floats
    ) -> None:
        self.names, self._rule, self._setting = names, rule, setting
        self._calibration = calibration

    def predict_many(self, x: Floats) -> Floats:
        out = _raw(self._rule, self.names, self._setting, x)
        score_many(self._calibration, out, out)
        return out

    def contributions_many(self, x: Floats) -> Floats:
        """Of the rule, its own input's; of chance the base is all there is."""
        out = np.zeros((len(x), len(self.names) + 1))
        raw = _raw(self._rule, self.names, self._setting, x)
        out[:, self._setting if self._rule == "amount-rule" else -1] = raw
        calibrate(self._calibration, out)
        return out

    def tensors(self) -> Tensors:
        return {"calibration": self._calibration}

    def config(self) -> dict[str, Any]:
        return {"names": list(self.names), "rule": self._rule, "setting": self._setting}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        names, rule, setting = tuple(config["names"]), config["rule"], config["setting"]
        version = cls(names, rule, setting, blank(tensors))
        restore(version.tensors(), {}, tensors, rule)
        return version
