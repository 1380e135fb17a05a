"""The lineup: champion, challengers and baselines, who all score and learn everything.

Versions advance together, after every so many examples or every so much event time, so which
version scores an event depends on the stream alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models.base import Learner, Model, Version
from models.state import prefixed, under
from operators.index import FOREVER
from streams.errors import StateError
from streams.ident import mix
from streams.jit import kernel

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
LEARNT = 1
"""Place of the examples learnt among the `counts` of a state."""


@kernel("void(int64[::1], float64, boolean[::1])")
def sample(idents: Int64s, rate: float, kept: npt.NDArray[np.bool_]) -> None:
    """Keep a share of ids, the same ones whenever asked."""
    for i in range(len(idents)):
        kept[i] = np.float64(mix(np.uint64(idents[i])) >> np.uint64(11)) * 2.0**-53 < rate


class Lineup:
    """Models by name, the champion first; `every` examples, or `every_us` of event time, a version.

    `sequence` numbers the version in force; 0 is what the models say before any example.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        names: tuple[str, ...],
        *,
        every: int,
        every_us: int = 0,
    ) -> None:
        self.names = tuple(models)
        self.every = every
        self.every_us = every_us
        self._rates = [
            float(getattr(getattr(model, "calibration", None), "negative_rate", 1.0))
            for model in models.values()
        ]
        self.learners: list[Learner] = [model.bind(names) for model in models.values()]
        self.versions: list[Version] = [learner.version() for learner in self.learners]
        self.sequence = 0
        self.learnt = 0
        self._published = 0
        self.due_us = FOREVER

    @property
    def room(self) -> int:
        """How many examples may come before the next version."""
        return self.every - self.learnt % self.every

    @property
    def champion(self) -> Version:
        """The version that decides."""
        return self.versions[0]

    def score(self, x: Floats, out: Floats) -> None:
        """Probabilities by the versions in force into out (n, models)."""
        for column, version in enumerate(self.versions):
            out[:, column] = version.predict_many(x)

    def learn(self, x: Floats, y: npt.NDArray[np.int8], idents: Int64s) -> None:
        """Learn up to `room` examples; each model its own share of the negatives."""
        if not len(y):
            return
        whole = np.ones(len(y))
        kept = np.empty(len(y), np.bool_)
        for rate, learner in zip(self._rates, self.learners, strict=True):
            if rate < 1:
                sample(idents, rate, kept)
                chosen = np.flatnonzero(kept | (y == 1))
                learner.learn_many(np.ascontiguousarray(x[chosen]), y[chosen], whole[chosen])
            else:
                learner.learn_many(x, y, whole)
        self.learnt += len(y)

    def begin(self, clock_us: int) -> None:
        """Reckon event time from here, unless it is already."""
        if self.every_us and self.due_us == FOREVER:
            self._reckon(clock_us)

    def advance(self) -> None:
        """Publish new versions if enough examples were learnt."""
        if self.learnt // self.every > self._published:
            self._publish()

    def tick(self, clock_us: int) -> None:
        """Publish new versions if enough event time has passed."""
        if clock_us >= self.due_us:
            self._reckon(clock_us)
            self._publish()

    def _reckon(self, clock_us: int) -> None:
        self.due_us = (clock_us // self.every_us + 1) * self.every_us

    def _publish(self) -> None:
        self._published = self.learnt // self.every
        self.sequence += 1
        self.versions = [learner.version() for learner in self.learners]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything learnt and everything that scores: the versions in force may be older."""
        parts: dict[str, npt.NDArray[Any]] = {}
        for name, learner, version in zip(self.names, self.learners, self.versions, strict=True):
            parts |= prefixed(f"{name}/learner/", learner.state())
            parts |= prefixed(f"{name}/version/", version.tensors())
        counts = [self.sequence, self.learnt, self.due_us, self._published]
        return parts | {"counts": np.array(counts, np.int64)}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a `state()` to the bit."""
        counts = state["counts"].tolist()
        self.sequence, self.learnt, self.due_us, self._published = counts
        for place, (name, learner) in enumerate(zip(self.names, self.learners, strict=True)):
            learner.load(under(f"{name}/learner/", state))
            fresh = self.versions[place]
            tensors = under(f"{name}/version/", state)
            self.versions[place] = type(fresh).from_parts(fresh.config(), tensors)

    def carry_on(
        self, state: Mapping[str, npt.NDArray[Any]], names: Collection[str], published: int
    ) -> list[str]:
        """Go on from the `state()` of a lineup with other models, by those of these names.

        Returns the models that begin anew: the others, and those whose inputs are not the same. The
        next version has a number above `published` and all that were used.
        """
        sequence, self.learnt, due_us, _ = state["counts"].tolist()
        self.due_us = due_us if self.every_us else FOREVER
        anew = [name for name in self.names if name not in names]
        for name, learner in zip(self.names, self.learners, strict=True):
            if name in names:
                try:
                    learner.load(under(f"{name}/learner/", state))
                except StateError:
                    anew.append(name)
        self.sequence = max(sequence, published)
        self._publish()
        return anew
