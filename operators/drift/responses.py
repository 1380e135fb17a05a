"""What a pipeline does when an alarm is raised, as its file declares it.

    responses=(
        On("concept", RaiseRate(times=4, lasting="7d")),
        On("prior", CorrectPrior()),
        On(("covariate", "missing"), Tell()),
        Every(time="30d", do=Retrain("boosted")),
    )

Each is of one contender, by its name in the pipeline. What it lasts ends early where the alarm says
that the change is over. What is done, and when, is said of `operators.drift.responsive`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, get_args

from models.base import Adaptive, Learner, Model, Retrainable
from models.decisions import CHAMPION
from operators.drift.alarm import Alarm, Kind
from streams.errors import ConfigError
from streams.schema import duration_us

_KINDS: tuple[str, ...] = get_args(Kind)


def _lasting(response: object, text: str) -> None:
    try:
        length = duration_us(text)
    except ValueError as error:
        raise ConfigError(f"{response}: lasting: {error}") from None
    if length <= 0:
        raise ConfigError(f"{response}: lasting: wanted more than no time, got {text}")


@dataclass(frozen=True, slots=True)
class RaiseRate:
    """Learn `times` as fast for a while (`models.base.Adaptive`)."""

    times: float = 4.0
    lasting: str = "7d"
    model: str = CHAMPION

    def __post_init__(self) -> None:
        _lasting(self, self.lasting)
        if self.times <= 0:
            raise ConfigError(f"{self}: wanted times above 0")


@dataclass(frozen=True, slots=True)
class Reset:
    """Forget all that was learnt and begin anew, with the latest `recent` examples.

    Where an alarm says since when things are different, with those of them that became known since.
    """

    recent: int = 0
    model: str = CHAMPION

    def __post_init__(self) -> None:
        _sizes(self, self.recent)


@dataclass(frozen=True, slots=True)
class Fork:
    """Try beside the champion what it would be if it learnt `times` as fast from here on.

    `model` is a challenger that is declared as the champion is, and goes on from what that has
    learnt. Once the labels since are `odds` times as likely by its scores as by the champion's, the
    champion goes on from what it has learnt. That is tried for as long as it is `lasting`.
    """

    model: str
    times: float = 4.0
    lasting: str = "14d"
    odds: float = 1000.0

    def __post_init__(self) -> None:
        _lasting(self, self.lasting)
        if self.times <= 0 or self.odds < 1:
            raise ConfigError(f"{self}: wanted times above 0 and odds of at least 1")


@dataclass(frozen=True, slots=True)
class Start:
    """Try beside the champion what it would be if it knew only the latest examples.

    With which it begins, a `Reset` says. In all else it is as a `Fork`.
    """

    model: str
    recent: int = 20_000
    lasting: str = "14d"
    odds: float = 1000.0

    def __post_init__(self) -> None:
        _lasting(self, self.lasting)
        _sizes(self, self.recent)
        if self.odds < 1:
            raise ConfigError(f"{self}: wanted odds of at least 1")


@dataclass(frozen=True, slots=True)
class Retrain:
    """Make a batch model anew from the examples it keeps (`models.base.Retrainable`)."""

    model: str


@dataclass(frozen=True, slots=True)
class CorrectPrior:
    """Move the log-odds of scores by what an alarm says of the share of positives, without labels.

    That is by as much as it is sure of, at most a factor of `most` in the odds (`shift_of`). An
    alarm that labels have raised moves nothing: by then models have learnt from them.
    """

    lasting: str = "7d"
    most: float = 10.0
    model: str = CHAMPION

    def __post_init__(self) -> None:
        _lasting(self, self.lasting)
        if self.most <= 1:
            raise ConfigError(f"{self}: wanted most above 1")


@dataclass(frozen=True, slots=True)
class RollBack:
    """Score by the last version that was in force before the change began; learning goes on.

    Of the latest `keep` points at which responses act the version is kept.
    """

    lasting: str = "7d"
    keep: int = 14
    model: str = CHAMPION

    def __post_init__(self) -> None:
        _lasting(self, self.lasting)
        if self.keep < 1:
            raise ConfigError(f"{self}: wanted to keep at least 1 version")


@dataclass(frozen=True, slots=True)
class Tell:
    """Do nothing; the alarm says it all."""

    @property
    def model(self) -> str:
        """None."""
        return ""


Action: TypeAlias = RaiseRate | Reset | Fork | Start | Retrain | CorrectPrior | RollBack | Tell


@dataclass(frozen=True, slots=True)
class On:
    """What to do when an alarm of a kind, or of one of several, is raised.

    Of the whole stream, unless a `slice` is named: then of any of its values. Of any detector,
    unless one is named.
    """

    kinds: str | Collection[str]
    do: Action
    slice: str = ""
    detector: str = ""

    def __post_init__(self) -> None:
        strange = sorted({*self.of} - {*_KINDS})
        if strange or not self.of:
            raise ConfigError(
                f"On: wanted kinds of alarms among {', '.join(_KINDS)}; got "
                f"{', '.join(strange) or 'none'}"
            )

    @property
    def of(self) -> tuple[str, ...]:
        """The kinds."""
        return (self.kinds,) if isinstance(self.kinds, str) else tuple(self.kinds)

    def wants(self, alarm: Alarm) -> bool:
        """Whether this alarm is one."""
        detector = self.detector or alarm.detector
        wanted = self.slice, detector
        return alarm.kind in self.of and (alarm.slice, alarm.detector) == wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """What to do again and again: after so much event time, or so many examples."""

    do: Action
    time: str = ""
    examples: int = 0

    def __post_init__(self) -> None:
        if bool(self.time) == (self.examples > 0):
            raise ConfigError(f"Every wants a time or a number of examples; got {self}")
        if self.time:
            _lasting(self, self.time)


Declared: TypeAlias = On | Every
LASTING = (RaiseRate, Fork, Start, CorrectPrior, RollBack)
"""Those of which something goes on."""


def checked(
    declared: Declared,
    models: Sequence[Model],
    names: Sequence[str],
    learners: Sequence[Learner],
) -> int:
    """The place of the model that a response is of, the first's for none; `models` may be named.

    ConfigError where that model cannot do what is asked of it.
    """
    do, own = declared.do, names[: len(models)]
    if do.model and do.model not in own:
        raise ConfigError(f"{do}: wanted a model among {', '.join(own)}; got {do.model!r}")
    place = own.index(do.model) if do.model else 0
    learner, kind = learners[place], type(models[place]).__name__
    if isinstance(do, RaiseRate | Fork):
        if not isinstance(learner, Adaptive):
            raise ConfigError(f"{do}: {do.model} is a {kind}, which has no rate to change")
        learner.adapt(1.0)
    if isinstance(do, Retrain) and not isinstance(learner, Retrainable):
        raise ConfigError(f"{do}: {do.model} is a {kind}, which learns event by event")
    if isinstance(do, Fork | Start) and (not place or repr(models[place]) != repr(models[0])):
        raise ConfigError(
            f"{do}: wanted a challenger that is declared as the champion is, so that either can "
            f"go on from what the other has learnt; {do.model} is not"
        )
    if isinstance(do, CorrectPrior | RollBack) and isinstance(declared, Every):
        raise ConfigError(f"{declared}: wanted an alarm, which says what has changed: On(...)")
    return place


def shift_of(alarms: Sequence[Alarm], most: float) -> dict[str, float]:
    """How far log-odds are to be moved by what is sure of the share of positives without labels.

    That is to the nearer end of the interval `low` to `high` in the newest alarm's evidence, from
    `before`; not at all where that lies within.
    """
    evidence = alarms[-1].evidence
    if not {"before", "low", "high"} <= evidence.keys():
        return {}
    before, low, high = (_inside(evidence[name]) for name in ("before", "low", "high"))
    now = min(max(before, low), high)
    if now == before:
        return {}
    moved = math.log(now / (1 - now)) - math.log(before / (1 - before))
    return {"shift": min(max(moved, -math.log(most)), math.log(most))}


def _inside(share: float) -> float:
    return min(max(share, 1e-6), 1 - 1e-6)


def words(do: Action, figures: Mapping[str, float]) -> str:
    """What was done, given its figures.

    >>> words(RaiseRate(), {"rate": 4.0})
    'learns 4 times as fast'
    """
    match do:
        case RaiseRate():
            return f"learns {figures['rate']:g} times as fast"
        case Fork():
            return f"goes on from the champion, {figures['rate']:g} times as fast"
        case Reset() | Start():
            return f"begins anew with {figures['examples']:,.0f} examples"
        case Retrain():
            return "is made anew"
        case CorrectPrior():
            none = "no other share is sure without labels"
            return f"log-odds moved by {figures['shift']:+.3f}" if figures else none
        case RollBack():
            none = "no version from before is kept"
            return f"back to version {figures['version']:.0f}" if figures else none
        case Tell():
            return "told"


def _sizes(response: object, recent: int) -> None:
    if recent < 0:
        raise ConfigError(f"{response}: wanted a number of recent examples of at least 0")
