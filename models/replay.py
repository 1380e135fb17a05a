"""A model that is taught again, beside what is fresh, examples from all of the past.

A reservoir holds a uniform sample of each label, so a fraud of two months ago is still learnt from
when its like comes back (Ratcliff, 1990; Chaudhry et al., *On Tiny Episodic Memories*, 2019), and
so the two labels can be learnt in other numbers than they come in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models.base import Adaptive, Floats, Labels, Learner, Model, Tensors, Version, examine
from models.calibration import SHIFT, Calibration, observe_many, publish
from models.ensemble import EnsembleVersion, mix
from models.reservoir import Reservoir
from models.state import prefixed, restore, under
from streams.errors import ConfigError

_MEMBER = "member"
_ALONE = np.ones(1)


@dataclass(frozen=True, kw_only=True)
class Replay:
    """`model`, taught `draws` examples of the past after every fresh one.

    Those of the next `every` are drawn at once, from a sample of `size` of each label.
    `positives`: the share of them that is positive, as they came when it is None. `negatives`: the
    share of the fresh negatives that is learnt; those left out are offered to the sample all the
    same. Whatever that does to the odds is taken back, by what was learnt of each label beside what
    came of it. Each example is judged by a version of at most `every` examples before. Memory:
    twice `size` and `draws` times `every` rows, of 8 bytes an input and 24.

    >>> from models.linear import Linear
    >>> model = Replay(model=Linear(bits=8), size=100, every=50, positives=0.5)
    >>> learner = model.bind(("amount",))
    >>> x = np.array([[900.0], *[[5.0]] * 9] * 200)
    >>> learner.learn_many(x, np.array([1, *[0] * 9] * 200, np.int8), np.ones(2000))
    >>> (learner.version().predict_many(x[:2]) > 0.5).tolist()
    [True, False]
    """

    model: Model
    size: int = 20_000
    draws: float = 1.0
    positives: float | None = None
    negatives: float = 1.0
    every: int = 500
    seed: int = 0
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        shares = (self.negatives, self.positives or 0.0)
        if not (all(0 <= share <= 1 for share in shares) and min(self.size, self.every) >= 1):
            wanted = "shares in [0, 1], a size and every of at least 1"
            raise ConfigError(f"Replay wants {wanted}; got {self}")
        if self.draws < 0 or self.calibration.positive_weight != 1:
            wanted = "draws of at least 0, and a positive_weight in the calibration of its model"
            raise ConfigError(f"Replay wants {wanted}; got {self}")

    def bind(self, names: tuple[str, ...]) -> ReplayLearner:
        return ReplayLearner(self, names)


class ReplayLearner:
    """The model's learner, what scores meanwhile, and the past. See `models.base.Learner`."""

    def __init__(self, model: Replay, names: tuple[str, ...]) -> None:
        self.names, self._model = names, model
        self._member: Learner = model.model.bind(names)
        self._judged: Version = self._member.version()
        self._past = Reservoir(model.size, len(names) + 1, strata=2, seed=model.seed)
        self._next = np.zeros((math.ceil(model.draws * model.every), len(names) + 2))
        self._came, self._learnt = np.ones(2), np.ones(2)
        self._seen = np.zeros(1, np.int64)
        self._calibration = model.calibration.start()

    def learn_many(self, x: Floats, y: Labels, weight: Floats) -> None:
        examine(self.names, x)
        every, start = self._model.every, 0
        while start < len(x):
            stop = min(start + every - int(self._seen[0]) % every, len(x))
            self._fresh(x[start:stop], y[start:stop], weight[start:stop])
            self._seen += stop - start
            if self._seen[0] % every == 0:
                self._turn()
            start = stop

    def _random(self, purpose: int) -> np.random.Generator:
        """Random numbers of this turn."""
        turn = int(self._seen[0]) // self._model.every
        return np.random.default_rng([self._model.seed, turn, purpose])

    def _fresh(self, x: Floats, y: Labels, weight: Floats) -> None:
        """Judge and learn some of a turn, each with those of the past that are due after it."""
        raw = np.empty(len(x))
        mix(self._judged.predict_many(x)[:, None], _ALONE, raw)
        observe_many(self._calibration, raw, y, weight)
        np.add.at(self._came, y, weight)
        self._past.add(np.column_stack([x, weight]), stratum=y.astype(np.int64))
        own = np.column_stack([x, weight, y])
        first = int(self._seen[0]) % self._model.every
        due = np.floor(self._model.draws * np.arange(first, first + len(x) + 1)).astype(np.int64)
        after = np.repeat(np.arange(len(x)), np.diff(due))
        drawn = self._random(0).random(self._model.every)[first : first + len(x)]
        chosen = (y > 0) | (drawn < self._model.negatives)
        order = np.argsort(np.append(np.arange(len(x)), after), kind="stable")
        rows = np.concatenate([own, self._next[due[0] : due[-1]]])
        self._learn(rows[order][np.append(chosen, rows[len(x) :, -2] > 0)[order]])

    def _learn(self, rows: Floats) -> None:
        y, weight = rows[:, -1].astype(np.int8), np.ascontiguousarray(rows[:, -2])
        self._member.learn_many(np.ascontiguousarray(rows[:, :-2]), y, weight)
        np.add.at(self._learnt, y, weight)

    def _turn(self) -> None:
        """Draw the past of the next turn, and judge by what is known by now."""
        random = self._random(1)
        seen = [self._past.seen(label) for label in (0, 1)]
        share = seen[1] / sum(seen) if self._model.positives is None else self._model.positives
        labels = random.random(len(self._next)) < share
        self._next[:, -2] = 0
        for label in (0, 1):
            sample, _ = self._past.sample(label)
            places = np.flatnonzero(labels == label)
            if len(sample):
                self._next[places, :-1] = sample[random.integers(len(sample), size=len(places))]
                self._next[places, -1] = label
        self._judged = self._member.version()
        more = math.log(self._learnt[1] / self._came[1]) - math.log(self._learnt[0] / self._came[0])
        self._calibration[SHIFT] = math.log(self._model.calibration.negative_rate) - more

    def adapt(self, rate: float) -> None:
        if not isinstance(self._member, Adaptive):
            kind = type(self._model.model).__name__
            raise ConfigError(f"Replay: its model, {kind}, has no rate to change")
        self._member.adapt(rate)

    def version(self) -> EnsembleVersion:
        members = {_MEMBER: self._member.version()}
        return EnsembleVersion(self.names, members, _ALONE.copy(), publish(self._calibration))

    def _parts(self) -> Tensors:
        return prefixed("past_", self._past.parts()) | {
            "next": self._next,
            "came": self._came,
            "learnt": self._learnt,
            "seen": self._seen,
            "calibration": self._calibration,
        }

    def _fixed(self) -> Tensors:
        model = self._model
        share = -1.0 if model.positives is None else model.positives
        return {"policy": np.array([model.draws, share, model.negatives, model.every, model.seed])}

    def state(self) -> Tensors:
        parts = self._parts() | self._fixed()
        parts |= prefixed("member/", self._member.state())
        parts |= prefixed("judged/", self._judged.tensors())
        return {name: part.copy() for name, part in parts.items()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        own = {name: part for name, part in state.items() if "/" not in name}
        restore(self._parts(), self._fixed(), own, "Replay")
        self._member.load(under("member/", state))
        config, judged = self._judged.config(), under("judged/", state)
        self._judged = type(self._judged).from_parts(config, judged)
