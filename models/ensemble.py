"""Several models as one: their mean, each weighted by how well it has predicted of late.

The weights are the posterior of a Bayesian mixture, that is exponential weights at rate 1, for
which the logarithmic loss is mixable (Vovk, 1998): over any examples the mixture loses at most the
logarithm of the number of members more than the best of them. With a `share` above 0 a part of
all weight is dealt out anew at every example (Herbster and Warmuth's Fixed-Share, 1998), so that
the mixture follows when the best member changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from models.base import (
    Adaptive,
    Floats,
    Labels,
    Learner,
    Model,
    Tensors,
    Version,
    examine,
)
from models.calibration import (
    Calibrated,
    Calibration,
    blank,
    calibrate,
    observe_many,
    publish,
    score_many,
)
from models.contributions import Contributing, to_log_odds, to_probabilities
from models.kinds import SIMPLE
from models.state import prefixed, restore, under
from streams.errors import ConfigError
from streams.jit import kernel

_MOST_SHARED = 0.5


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """The weighted mean of `members`, models by name, who all learn everything.

    Each example is judged by versions that are at most `every` examples old. `share`: what part of
    the weight is dealt out anew at every example; 0 follows the best member over all examples.

    >>> from models.baselines import Prior
    >>> from models.forest import Forest
    >>> members = {"forest": Forest(learnt_after=20), "prior": Prior()}
    >>> model = Ensemble(members=members, every=20)
    >>> learner = model.bind(("amount",))
    >>> x = np.array([[900.0], [5.0]] * 200)
    >>> learner.learn_many(x, np.array([1, 0] * 200, np.int8), np.ones(400))
    >>> (learner.version().predict_many(x[:2]) > 0.5).tolist()
    [True, False]
    >>> {name: weight > 0.5 for name, weight in learner.weights().items()}
    {'forest': True, 'prior': False}
    """

    members: Mapping[str, Model]
    every: int = 500
    share: float = 1e-4
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        if not (self.members and self.every >= 1 and 0 <= self.share < 1):
            wanted = "members, every of at least 1 and a share in [0, 1)"
            raise ConfigError(f"Ensemble wants {wanted}; got {self}")

    def bind(self, names: tuple[str, ...]) -> EnsembleLearner:
        return EnsembleLearner(self, names)


@kernel("void(float64[:, ::1], int8[::1], float64[::1], float64, float64[::1], float64[::1])")
def judge(
    scores: Floats, y: Labels, weight: Floats, share: float, weights: Floats, out: Floats
) -> None:
    """Weigh members by what they scored (n, members), in order; the mixture's log-odds into out."""
    members = len(weights)
    gains = np.empty(members)
    for row in range(len(scores)):
        mixed = 0.0
        for member in range(members):
            mixed += weights[member] * scores[row, member]
        out[row] = np.log(mixed / (1.0 - mixed))
        # By the best member's gain: however much an example counts, that one keeps its weight.
        best = -np.inf
        for member in range(members):
            p = scores[row, member] if y[row] else 1.0 - scores[row, member]
            gains[member] = weight[row] * np.log(p) + np.log(weights[member])
            best = max(best, gains[member])
        total = 0.0
        for member in range(members):
            weights[member] = np.exp(gains[member] - best)
            total += weights[member]
        for member in range(members):
            weights[member] = (1.0 - share) * weights[member] / total + share / members


class EnsembleLearner:
    """Members who learn, the versions they are judged by, their weights. See `base.Learner`."""

    def __init__(self, model: Ensemble, names: tuple[str, ...]) -> None:
        self.names, self._model = names, model
        self._members: dict[str, Learner] = {
            name: member.bind(names) for name, member in model.members.items()
        }
        self._judged = self._versions()
        self._weights = np.full(len(self._members), 1.0 / len(self._members))
        self._calibration = model.calibration.start()
        self._seen = np.zeros(1, np.int64)
        self._pace = np.ones(1)

    def _versions(self) -> dict[str, Version]:
        return {name: member.version() for name, member in self._members.items()}

    def weights(self) -> dict[str, float]:
        """The members' weights, by name; they sum to 1."""
        return dict(zip(self._members, self._weights.tolist(), strict=True))

    def learn_many(self, x: Floats, y: Labels, weight: Floats) -> None:
        examine(self.names, x)
        every, start = self._model.every, 0
        while start < len(x):
            stop = min(start + every - int(self._seen[0]) % every, len(x))
            self._learn(x[start:stop], y[start:stop], weight[start:stop])
            self._seen += stop - start
            if self._seen[0] % every == 0:
                self._judged = self._versions()
            start = stop

    def _learn(self, x: Floats, y: Labels, weight: Floats) -> None:
        raw = np.empty(len(x))
        share = min(self._model.share * self._pace[0], _MOST_SHARED)
        judge(_scores(self._judged, x), y, weight, share, self._weights, raw)
        observe_many(self._calibration, raw, y, weight)
        for member in self._members.values():
            member.learn_many(x, y, weight)

    def adapt(self, rate: float) -> None:
        """Members do that can, and weights follow the best of them as much faster."""
        self._pace[0] = rate
        for member in self._members.values():
            if isinstance(member, Adaptive):
                member.adapt(rate)

    def version(self) -> EnsembleVersion:
        return EnsembleVersion(
            self.names, self._versions(), self._weights.copy(), publish(self._calibration)
        )

    def _parts(self) -> Tensors:
        return {
            "weights": self._weights,
            "calibration": self._calibration,
            "seen": self._seen,
            "pace": self._pace,
        }

    def state(self) -> Tensors:
        states = {name: member.state() for name, member in self._members.items()}
        judged = {name: version.tensors() for name, version in self._judged.items()}
        parts = self._parts() | _each("member", states) | _each("judged", judged)
        return {name: part.copy() for name, part in parts.items()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        own = {name: part for name, part in state.items() if "/" not in name}
        restore(self._parts(), {}, {"pace": np.ones(1)} | own, "Ensemble")
        for name, member in self._members.items():
            member.load(under(f"member/{name}/", state))
            judged = self._judged[name]
            tensors = under(f"judged/{name}/", state)
            self._judged[name] = type(judged).from_parts(judged.config(), tensors)


class EnsembleVersion(Calibrated, Contributing):
    """An `Ensemble` as it scores. See `models.base.Version`."""

    kind: ClassVar[str] = "ensemble"

    def __init__(
        self,
        names: tuple[str, ...],
        members: Mapping[str, Version],
        weights: Floats,
        calibration: Floats,
    ) -> None:
        self.names, self._members = names, dict(members)
        self._weights, self._calibration = weights, calibration

    def predict_many(self, x: Floats) -> Floats:
        examine(self.names, x)
        out = np.empty(len(x))
        mix(_scores(self._members, x), self._weights, out)
        score_many(self._calibration, out, out)
        return out

    def contributions_many(self, x: Floats) -> Floats:
        """Those of the members to their probabilities, by weight; then to log-odds."""
        examine(self.names, x)
        parts = np.zeros((len(x), len(self.names) + 1))
        for version, weight in zip(self._members.values(), self._weights.tolist(), strict=True):
            own = version.contributions_many(x)
            to_probabilities(own)
            parts += weight * own
        to_log_odds(parts)
        calibrate(self._calibration, parts)
        return parts

    def tensors(self) -> Tensors:
        own = {"weights": self._weights, "calibration": self._calibration}
        members = {name: version.tensors() for name, version in self._members.items()}
        return own | _each("member", members)

    def config(self) -> dict[str, Any]:
        members = {name: [each.kind, each.config()] for name, each in self._members.items()}
        return {"names": list(self.names), "members": members}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        kinds: dict[str, type[Version]] = {**SIMPLE, cls.kind: cls}
        members = {
            name: kinds[kind].from_parts(own, under(f"member/{name}/", tensors))
            for name, (kind, own) in config["members"].items()
        }
        weights, calibration = np.empty(len(members)), blank(tensors)
        version = cls(tuple(config["names"]), members, weights, calibration)
        parts = {"weights": weights, "calibration": calibration}
        restore(parts, {}, {name: t for name, t in tensors.items() if "/" not in name}, "Ensemble")
        return version


@kernel("void(float64[:, ::1], float64[::1], float64[::1])")
def mix(scores: Floats, weights: Floats, out: Floats) -> None:
    """The log-odds of the weighted mean of each row's scores (n, members) into out (n,)."""
    for row in range(len(scores)):
        mixed = 0.0
        for member in range(len(weights)):
            mixed += weights[member] * scores[row, member]
        out[row] = np.log(mixed / (1.0 - mixed))


def _scores(versions: Mapping[str, Version], x: Floats) -> Floats:
    """What each version scores, (n, versions)."""
    scores = np.empty((len(x), len(versions)))
    for place, version in enumerate(versions.values()):
        scores[:, place] = version.predict_many(x)
    return scores


def _each(kind: str, parts: Mapping[str, Tensors]) -> Tensors:
    """The tensors of each, under names that begin with the kind and its own."""
    return {
        name: values
        for owner, tensors in parts.items()
        for name, values in prefixed(f"{kind}/{owner}/", tensors).items()
    }
