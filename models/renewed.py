"""A model that begins anew beside itself when it does worse than it did.

By how much its losses are above their usual is added up, and is 0 again where they are not (Page's
cumulative sum, 1954). Once it is so much that chance seldom makes it, a *second* learner of the
same model is taught what has come since the sum was last 0, and all that comes from then on. What
is scored meanwhile is the mean of three, each weighted by how well it has predicted since (Herbster
and Warmuth's Fixed-Share, 1998): the model as it is, the second, and both *stacked*, their log-odds
times factors that were learnt since: where labels have changed sides the old scores still tell
which is which. A second by which labels are much likelier takes the model's place; where the model
does again as well as it did, the second is let go.

River's adaptive random forest does the like with each of its trees (Gomes and others, 2017).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models import renewal
from models.base import Adaptive, Floats, Labels, Learner, Model, Tensors, examine
from models.calibration import Calibration, observe_many, publish
from models.renewal import AGE, KEPT, LEFT, SEEN
from models.renewed_version import RenewedVersion
from models.state import prefixed, restore, under
from streams.errors import ConfigError

_OFTEN, _PART = 8, 8
"""Examples are judged by versions at most so old, or this part of what they have learnt."""


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """`model`, and beside it one that begins anew when its losses have risen.

    A second is tried for `recent` examples at most, and takes the model's place once the labels of
    late are `odds` times as likely by it and it ranks better. Examples are judged by versions at
    most `every` examples old. Memory: twice the model's, and 8 bytes an input and 24 for each of
    `recent` examples.

    >>> from models.forest import Forest
    >>> learner = Renewed(model=Forest(trees=3, nodes=255, learnt_after=50)).bind(("amount",))
    >>> x, y = np.array([[900.0], [5.0]] * 500), np.array([1, 0] * 500, np.int8)
    >>> learner.learn_many(x, y, np.ones(1000))
    >>> learner.learn_many(x[:30], 1 - y[:30], np.ones(30))
    >>> (learner.version().predict_many(x[:2]) > 0.5).tolist()
    [False, True]
    """

    model: Model
    recent: int = 2000
    every: int = 500
    odds: float = 1000.0
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        if not (min(self.recent, self.every) >= 1 and self.odds > 1):
            wanted = "recent and every of at least 1, and odds above 1"
            raise ConfigError(f"Renewed wants {wanted}; got {self}")

    def bind(self, names: tuple[str, ...]) -> RenewedLearner:
        return RenewedLearner(self, names)


class RenewedLearner:
    """The model's learner, a second one at times, and the versions that examples are judged by.

    See `models.base.Learner`.
    """

    def __init__(self, model: Renewed, names: tuple[str, ...]) -> None:
        self.names, self._model = names, model
        self._main: Learner = model.model.bind(names)
        self._second: Learner | None = None
        self._none = self._main.version()
        """Of a second that has learnt nothing."""
        self._judges = [self._none, self._none]
        self._words = np.zeros(4, np.int64)
        self._words[LEFT] = 1
        self._reals, self._stack, self._weights = renewal.blank()
        self._settings = np.array([math.log(model.odds), model.recent])
        self._rows = np.zeros((model.recent, len(names) + 3))
        """What has come since the sum was last 0: inputs, label, weight, the model's score.

        Of a second: what the model scored, what it did, and the label.
        """
        self._calibration = model.calibration.start()
        self._pace = np.ones(1)

    @property
    def trying(self) -> int:
        """How many examples the second has learnt; 0 where there is none."""
        return int(self._words[AGE])

    def learn_many(self, x: Floats, y: Labels, weight: Floats) -> None:
        examine(self.names, x)
        start = 0
        while start < len(x):
            rows = slice(start, min(start + int(self._words[LEFT]), len(x)))
            start += self._learn(x[rows], y[rows], weight[rows])

    def _learn(self, x: Floats, y: Labels, weight: Floats) -> int:
        """Learn examples that the same versions judge, or the first of them; how many."""
        main, raw = self._judges[0].predict_many(x), np.empty(len(x))
        if self._second:
            done = self._follow(self._second, x, y, weight, main, raw, again=False)
        else:
            given = self._words, self._reals, self._settings
            done = renewal.watch(main, y, weight, *given, raw)
            self._keep(np.column_stack([x, y, weight, main])[:done])
        rows = slice(0, done)
        observe_many(self._calibration, raw[rows], y[rows], weight[rows])
        self._main.learn_many(x[rows], y[rows], weight[rows])
        self._words[SEEN] += done
        self._words[LEFT] -= done
        if self._second:
            self._end()
        elif renewal.risen(self._reals):
            self._begin()
        if self._words[LEFT] == 0:
            self._judge()
        return done

    def _keep(self, rows: Floats) -> None:
        """Keep those of the examples that have come since the sum was last 0."""
        kept = int(self._words[KEPT])
        new = min(kept, len(rows))
        self._rows[kept - new : kept] = rows[len(rows) - new :]

    def _follow(
        self,
        learner: Learner,
        x: Floats,
        y: Labels,
        weight: Floats,
        main: Floats,
        raw: Floats,
        *,
        again: bool,
    ) -> int:
        """Have the second learn examples, after the three are weighed by them; how many."""
        second, age = self._judges[1].predict_many(x), self.trying
        done = renewal.follow(
            main, second, y, weight, self._words, self._reals, self._stack, self._weights,
            self._settings, again, raw,
        )  # fmt: skip
        learner.learn_many(x[:done], y[:done], weight[:done])
        self._rows[age : age + done, :3] = np.column_stack([main, second, y])[:done]
        return int(done)

    def _begin(self) -> None:
        """Have a second learn what has come since the sum was last 0."""
        rows = self._rows[: int(self._words[KEPT])].copy()
        self._words[KEPT] = 0
        self._second = second = self._bound()
        renewal.begin(self._reals, self._stack, self._weights)
        x, y = np.ascontiguousarray(rows[:, :-3]), rows[:, -3].astype(np.int8)
        weight, main = rows[:, -2].copy(), rows[:, -1].copy()
        at = 0
        while at < len(rows):
            self._judges[1] = second.version()
            piece = slice(at, min(at + self._wait(), len(rows)))
            own = x[piece], y[piece], weight[piece], main[piece]
            at += self._follow(second, *own, np.empty(len(rows)), again=True)
        self._judge()

    def _bound(self) -> Learner:
        """A second that has learnt nothing."""
        second = self._model.model.bind(self.names)
        if isinstance(second, Adaptive) and self._pace[0] != 1:
            second.adapt(float(self._pace[0]))
        return second

    def _end(self) -> None:
        """Have the second take the model's place, or let it go, if it is time."""
        verdict = renewal.over(self._words, self._reals, self._weights, self._settings)
        if not verdict:
            return
        if verdict == renewal.BETTER and self._second:
            if self._ranks_better():
                self._main = self._second
            elif self.trying < self._model.recent:
                return
        renewal.end(self._words, self._reals, self._stack, self._weights, verdict)
        self._second = None
        self._judge()

    def _ranks_better(self) -> bool:
        """Whether the second does, of the later half of what it has learnt."""
        later = self._rows[self.trying // 2 : self.trying, :3]
        return bool(renewal.ranks_better(np.ascontiguousarray(later)))

    def _judge(self) -> None:
        """Judge what comes next by what is known by now."""
        second = self._second.version() if self._second else self._none
        self._judges = [self._main.version(), second]
        self._words[LEFT] = self._wait()

    def _wait(self) -> int:
        """How many examples these versions judge."""
        learnt = int(self._words[AGE if self._second else SEEN])
        return min(max(_OFTEN, learnt // _PART), self._model.every)

    def adapt(self, rate: float) -> None:
        for learner in filter(None, (self._main, self._second)):
            if not isinstance(learner, Adaptive):
                kind = type(self._model.model).__name__
                raise ConfigError(f"Renewed: its model, {kind}, has no rate to change")
            learner.adapt(rate)
        self._pace[0] = rate

    def version(self) -> RenewedVersion:
        second = self._second.version() if self._second else self._none
        return RenewedVersion(
            self._main.version(), second, self._stack.copy(), self._weights.copy(),
            publish(self._calibration),
        )  # fmt: skip

    def _parts(self) -> Tensors:
        return {
            "words": self._words,
            "reals": self._reals,
            "stack": self._stack,
            "weights": self._weights,
            "rows": self._rows,
            "calibration": self._calibration,
            "pace": self._pace,
        }

    def state(self) -> Tensors:
        parts = self._parts() | {"settings": self._settings}
        parts |= prefixed("main/", self._main.state())
        parts |= prefixed("second/", self._second.state() if self._second else {})
        for at, judge in enumerate(self._judges):
            parts |= prefixed(f"judge/{at}/", judge.tensors())
        made = {name: part.copy() for name, part in parts.items()}
        made["rows"][int(self._words[KEPT]) + self.trying :] = 0
        return made

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        own = {name: part for name, part in state.items() if "/" not in name}
        restore(self._parts(), {"settings": self._settings}, own, "Renewed")
        self._main.load(under("main/", state))
        self._second = None
        if self._words[AGE]:
            self._second = self._bound()
            self._second.load(under("second/", state))
        config, kind = self._none.config(), type(self._none)
        self._judges = [kind.from_parts(config, under(f"judge/{at}/", state)) for at in (0, 1)]
