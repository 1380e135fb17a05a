"""A lineup that is driven through a stream whose law changes, with alarms as they are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models.base import Floats, Labels, Model
from models.baselines import Prior
from models.linear import Linear
from operators.drift.alarm import Alarm
from operators.drift.response import Response
from operators.drift.responses import (
    Declared,
)
from operators.drift.responsive import Responsive
from operators.lineup import Lineup
from streams.schema import DAY

NAMES = ("a", "b")
LINEAR = Linear(bits=8, alpha=0.3)
MODELS: dict[str, Model] = {"champion": LINEAR, "other": LINEAR, "prior": Prior()}
EVERY, A_DAY, DAYS, CHANGE = 40, 100, 12, 6


def stream(days: int = DAYS, change: int = CHANGE) -> tuple[Floats, Labels]:
    """A hundred examples a day; from the day of the change on the other input decides."""
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, (days * A_DAY, 2))
    after = np.arange(len(x)) >= change * A_DAY
    return x, (np.where(after, x[:, 1], x[:, 0]) > 0.5).astype(np.int8)


def alarm(
    kind: Any = "concept", number: int = 1, *, over: bool = False, **evidence: float
) -> Alarm:
    return Alarm(
        kind=kind, detector="a test", since_us=(CHANGE + 1) * DAY, size=1.0, threshold=0.5,
        evidence=evidence, over=over, number=number, at_us=(CHANGE + 2) * DAY, version=1,
    )  # fmt: skip


Alarms = Mapping[int, Sequence[Alarm]]
RAISED: Alarms = {CHANGE + 1: [alarm()]}


@dataclass
class Driven:
    """A lineup that has come through the stream, and what was done on the way."""

    lineup: Lineup
    done: list[Response] = field(default_factory=list)
    days: list[dict[str, npt.NDArray[Any]]] = field(default_factory=list)
    """The state at the end of each."""
    scores: list[Floats] = field(default_factory=list)
    """What is said of each day's events at its beginning."""


def lineup_of(responses: Sequence[Declared]) -> Responsive:
    return Responsive(MODELS, NAMES, responses=responses, every=EVERY, contenders=2)


def drive(
    make: Callable[[], Lineup], alarms: Alarms, *, cut: int = A_DAY, restart: int | None = None
) -> Driven:
    """Learn day by day in pieces, act at the end of each; after one day go on from the state."""
    x, y = stream()
    driven = Driven(make())
    for day in range(DAYS):
        lineup = driven.lineup
        stop = (day + 1) * A_DAY
        at = day * A_DAY
        driven.scores.append(lineup.versions[0].predict_many(x[at:stop]))
        while at < stop:
            end = min(at + lineup.room, at + cut, stop)
            lineup.learn(x[at:end], y[at:end], np.arange(at, end))
            lineup.advance()
            at = end
        driven.done += lineup.act((day + 2) * DAY, alarms.get(day, ()))
        driven.days.append(lineup.state())
        if day == restart:
            driven.lineup = make()
            driven.lineup.load(driven.days[-1])
    return driven


def bits(driven: Driven) -> tuple[list[Response], dict[str, bytes], list[Any]]:
    lineup = driven.lineup
    state = {name: part.tobytes() for name, part in lineup.state().items()}
    made = [(each.number, each.response) for each in lineup.made()]
    return driven.done, state, made


def said(driven: Driven) -> list[tuple[int, str, str, bool]]:
    return [(each.at_us // DAY - 2, each.model, each.what, each.over) for each in driven.done]


def loss(driven: Driven, days: range) -> float:
    _, y = stream()
    scores = np.concatenate([driven.scores[day] for day in days])
    own = y[days.start * A_DAY : days.stop * A_DAY]
    return float(-np.log(np.where(own, scores, 1 - scores)).mean())


def plain() -> Driven:
    return drive(lambda: Lineup(MODELS, NAMES, every=EVERY, contenders=2), {})
