"""The lineup: champion, challengers and baselines, who all score and learn everything.

Versions advance together, after every so many examples or every so much event time, so which
version scores an event depends on the stream alone. The contenders, that is champion and
challengers, number theirs by turns: of two contenders, the first has 2, 4, 6, the second 3, 5, 7.
So a number says which model it is of.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.base import Adaptive, Learner, Model, Version
from models.state import prefixed, under
from operators.drift.alarm import Alarm
from operators.drift.response import Response
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


class Made(NamedTuple):
    """A contender's version."""

    number: int
    model: str
    major: int
    """Its course of learning: another one wherever a model began from the prior."""
    minor: int
    """Versions of that course so far."""
    version: Version
    examples: int
    """Learnt until then."""
    response: str = ""
    """To what it owes that it is other than what was learnt alone, in words."""


class Lineup:
    """Models by name, the champion first; `every` examples, or `every_us` of event time, a version.

    The first `contenders` of them may score. `sequence` is the number of the first one's version in
    force, the others have the next; 0 is what the models say before any example. Who scores is the
    first one's newest version, until `follow` or `hold` says otherwise.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        names: tuple[str, ...],
        *,
        every: int,
        every_us: int = 0,
        contenders: int = 1,
    ) -> None:
        self.names = tuple(models)
        self.contenders = contenders
        self.every = every
        self.every_us = every_us
        self._rates = [
            float(getattr(getattr(model, "calibration", None), "negative_rate", 1.0))
            for model in models.values()
        ]
        self._models, self._inputs = tuple(models.values()), names
        self.learners: list[Learner] = [model.bind(names) for model in models.values()]
        self.versions: list[Version] = [learner.version() for learner in self.learners]
        self._fresh = tuple(self.versions)
        self.sequence = 0
        self._origin = 0
        """The number from which on contenders take turns; all below are of the first."""
        self._courses = [(place + 1, 0) for place in range(contenders)]
        """Major and minor of each contender's version in force."""
        self.place = 0
        """Which model scores."""
        self._held: tuple[int, Version] | None = None
        self.learnt = 0
        self._published = self._examples = 0
        self.due_us = FOREVER

    @property
    def room(self) -> int:
        """How many examples may come before the next version."""
        return self.every - self.learnt % self.every

    @property
    def champion(self) -> Version:
        """The version that decides."""
        return self._held[1] if self._held else self.versions[self.place]

    @property
    def number(self) -> int:
        """The number of the version that decides."""
        return self._held[0] if self._held else self.sequence + self.place

    def follow(self, place: int) -> None:
        """Have the newest version of the model at this place decide."""
        self.place, self._held = place, None

    def hold(self, place: int, number: int, version: Version) -> None:
        """Have this version of the model at this place decide, whatever is learnt."""
        self.place, self._held = place, (number, version)

    def places(self, numbers: Int64s) -> Int64s:
        """Which model each of these versions is of."""
        turns = (numbers - self._origin) % self.contenders
        return np.where(numbers >= self._origin, turns, 0)

    def made(self) -> list[Made]:
        """The contenders' versions in force."""
        if self.sequence < self._origin:
            return []
        examples = self._examples
        return [
            Made(self.sequence + place, self.names[place], *course, self.versions[place], examples)
            for place, course in enumerate(self._courses)
        ]

    def score(self, x: Floats, out: Floats) -> None:
        """Probabilities into out (n, models): by the version that decides, else those in force."""
        for column, version in enumerate(self.versions):
            deciding = self.champion if column == self.place else version
            out[:, column] = deciding.predict_many(x)

    def learn(self, x: Floats, y: npt.NDArray[np.int8], idents: Int64s) -> None:
        """Learn up to `room` examples; each model its own share of the negatives."""
        if not len(y):
            return
        for place in range(len(self.learners)):
            self._teach(place, x, y, idents)
        self.learnt += len(y)

    def _teach(self, place: int, x: Floats, y: npt.NDArray[np.int8], idents: Int64s) -> None:
        """Have one model learn examples, its own share of the negatives."""
        rate, learner = self._rates[place], self.learners[place]
        if rate < 1:
            kept = np.empty(len(y), np.bool_)
            sample(idents, rate, kept)
            chosen = np.flatnonzero(kept | (y == 1))
            x, y = np.ascontiguousarray(x[chosen]), y[chosen]
        learner.learn_many(x, y, np.ones(len(y)))

    def act(self, at_us: int, alarms: Sequence[Alarm]) -> list[Response]:
        """Do what is to be done of alarms since the last such point of event time; what was done.

        Between two examples, at every such point, also without an alarm. Nothing is done here: see
        `operators.drift.responsive`.
        """
        del at_us, alarms
        return []

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
        self._published, self._examples = self.learnt // self.every, self.learnt
        turn = self.sequence + self.contenders
        self.sequence = turn if self.sequence >= self._origin else self._origin
        self._courses = [(major, minor + 1) for major, minor in self._courses]
        self.versions = [learner.version() for learner in self.learners]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything learnt and everything that scores: the versions in force may be older."""
        parts: dict[str, npt.NDArray[Any]] = {}
        for name, learner, version in zip(self.names, self.learners, self.versions, strict=True):
            parts |= prefixed(f"{name}/learner/", learner.state())
            parts |= prefixed(f"{name}/version/", version.tensors())
        courses = zip(self.names, self._courses, strict=False)
        parts |= {f"{name}/course": np.array(course, np.int64) for name, course in courses}
        counts = [self.sequence, self.learnt, self.due_us, self._published]
        counts += [self._origin, self._examples]
        return parts | {"counts": np.array(counts, np.int64)}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a `state()` to the bit."""
        self.sequence, self.learnt, self.due_us, self._published, *since = state["counts"].tolist()
        # In a state of before contenders took turns all numbers are of the first.
        self._origin, self._examples = since or (self.sequence + self.contenders, self.learnt)
        for place, name in enumerate(self.names[: self.contenders]):
            major, minor = state.get(f"{name}/course", (place + 1, self.sequence))
            self._courses[place] = int(major), int(minor)
        for place, (name, learner) in enumerate(zip(self.names, self.learners, strict=True)):
            learner.load(under(f"{name}/learner/", state))
            self.versions[place] = self._version(place, under(f"{name}/version/", state))

    def _version(self, place: int, tensors: Mapping[str, npt.NDArray[Any]]) -> Version:
        """The version of a model with these tensors."""
        fresh = self._fresh[place]
        return type(fresh).from_parts(fresh.config(), tensors)

    def carry_on(
        self, state: Mapping[str, npt.NDArray[Any]], names: Collection[str], published: int
    ) -> list[str]:
        """Go on from the `state()` of a lineup with other models, by those of these names.

        Returns the models that begin anew: the others, and those whose inputs are not the same. The
        next version has a number above `published` and all that were used.
        """
        sequence, self.learnt, due_us = state["counts"].tolist()[:3]
        self.due_us = due_us if self.every_us else FOREVER
        last = max((int(v[0]) for key, v in state.items() if key.endswith("/course")), default=0)
        anew = [name for name in self.names if name not in names]
        for name, learner in zip(self.names, self.learners, strict=True):
            if name in names:
                try:
                    learner.load(under(f"{name}/learner/", state))
                except StateError:
                    anew.append(name)
                if isinstance(learner, Adaptive):
                    learner.adapt(1.0)
        for place, name in enumerate(self.names[: self.contenders]):
            if name not in anew and f"{name}/course" in state:
                major, minor = state[f"{name}/course"]
                self._courses[place] = int(major), int(minor)
            else:
                last += 1
                self._courses[place] = last, 0
        self.begin_after(max(sequence, published))
        self._publish()
        return anew

    def begin_after(self, number: int) -> None:
        """Have the next versions numbered above this."""
        self._origin = number + 1
