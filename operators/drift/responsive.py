"""A lineup that does what the pipeline declares when alarms are raised.

It acts between two examples, at points of event time, on all alarms since the point before: what it
does is a function of examples and alarms, so any cut of the input gives the same bits. It changes
what learners know and what their next versions are. Which model's versions score is for people to
decide (`models.decisions`), and stays as they decided.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from models.base import Adaptive, Model, Retrainable, Version
from models.shifted import Shifted, parted
from models.state import prefixed, restore, under
from operators.drift.alarm import Alarm
from operators.drift.latest import Latest
from operators.drift.response import Response
from operators.drift.responses import (
    LASTING,
    Action,
    CorrectPrior,
    Declared,
    Every,
    Fork,
    RaiseRate,
    Reset,
    Retrain,
    RollBack,
    Start,
    Tell,
    checked,
    shift_of,
    words,
)
from operators.drift.trial import Trial
from operators.lineup import Floats, Int64s, Lineup, Made
from streams.schema import duration_us

Labels = npt.NDArray[np.int8]
Cause = tuple[str, str, str, str]
"""What an alarm is of: kind, detector, slice, value."""
_BOOK, _TRIAL, _LATEST, _KEPT = "/book", "/trial/", "/latest/", "/kept/"
_FIRST = 0
"""The place of the champion."""
_POINTS = 64


class _Span(msgspec.Struct):
    """What one declared response has going on."""

    declared: int
    """Its place among those declared."""
    until_us: int
    said: str
    value: float = 1.0
    """The rate, the shift, or the version's place among those kept."""
    causes: list[Cause] = []
    """Of the alarms that caused it and are not over."""


class _Kept(msgspec.Struct):
    """A version to go back to: when it was in force, and its number."""

    at_us: int
    number: int


class _Book(msgspec.Struct):
    """All that goes on, but for what is in arrays. A place is a model's."""

    due: list[int]
    """When each declared response is due again: event time or examples; -1 before it is known."""
    kept: dict[int, list[_Kept]]
    """By place, oldest first."""
    responses: int = 0
    """The last one's number."""
    points: list[tuple[int, int]] = []
    """Of the latest points at which was acted: event time, and examples learnt by then."""
    spans: list[_Span] = []
    """The newest last."""
    news: dict[int, str] = {}
    """What is to be said of a model's next version, by place."""
    said: dict[int, str] = {}
    """What is said of its version in force."""


def cause_of(alarm: Alarm) -> Cause:
    """What the alarm is of: that it is over is said of the same."""
    return alarm.kind, alarm.detector, alarm.slice, alarm.value


def standing(alarms: Sequence[Alarm]) -> list[Alarm]:
    """Those that none after them says to be over."""
    raised: dict[Cause, Alarm] = {}
    for alarm in alarms:
        raised.pop(cause_of(alarm), None)
        if not alarm.over:
            raised[cause_of(alarm)] = alarm
    return [*raised.values()]


class Responsive(Lineup):
    """A `Lineup` with `responses`. ConfigError where a model cannot do what is asked of it."""

    def __init__(
        self,
        models: Mapping[str, Model],
        names: tuple[str, ...],
        *,
        responses: Sequence[Declared],
        every: int,
        every_us: int = 0,
        contenders: int = 1,
    ) -> None:
        super().__init__(models, names, every=every, every_us=every_us, contenders=contenders)
        self._declared = tuple(responses)
        self._places = [
            checked(each, self._models[:contenders], self.names, self.learners)
            for each in responses
        ]
        recent = max((getattr(each.do, "recent", 0) for each in responses), default=0)
        self._latest = Latest(recent, inputs=len(names))
        self._keep: dict[int, int] = {}
        """How many versions of which models are kept."""
        for each, place in zip(responses, self._places, strict=True):
            if isinstance(each.do, RollBack):
                self._keep[place] = max(self._keep.get(place, 0), each.do.keep)
        self._book = _Book([-1] * len(responses), {place: [] for place in self._keep})
        self._stored: dict[int, list[Version]] = {place: [] for place in self._keep}
        """The versions of `_Book.kept`."""
        self._trials = {
            at: Trial() for at, each in enumerate(responses) if isinstance(each.do, Fork | Start)
        }
        self._release = False

    def learn(self, x: Floats, y: Labels, idents: Int64s) -> None:
        """As a `Lineup`; what is tried is compared, and what may be taught again is kept."""
        if len(y):
            trials = self._going_on(Fork, Start)
            champion = self.versions[_FIRST].predict_many(x) if trials else np.empty(0)
            for span in trials:
                other = self.versions[self._places[span.declared]].predict_many(x)
                self._trials[span.declared].take(champion, other, y)
            self._latest.take(x, y, idents)
        super().learn(x, y, idents)

    def _going_on(self, *kinds: type[Action]) -> list[_Span]:
        return [s for s in self._book.spans if isinstance(self._declared[s.declared].do, kinds)]

    def act(self, at_us: int, alarms: Sequence[Alarm]) -> list[Response]:
        self._release = False
        done = [*self._end(at_us, alarms), *self._begin_responses(at_us, standing(alarms))]
        if self._release:
            self._publish()
        self._keep_versions(at_us)
        self._book.points = [*self._book.points, (at_us, self.learnt)][-_POINTS:]
        return done

    def _end(self, at_us: int, alarms: Sequence[Alarm]) -> Iterator[Response]:
        """End what has had its time or whose cause is over, and what is tried and found better."""
        over = {cause_of(alarm) for alarm in alarms if alarm.over}
        for span in [*self._book.spans]:
            do, place = self._declared[span.declared].do, self._places[span.declared]
            caused = bool(span.causes)
            span.causes = [cause for cause in span.causes if cause not in over]
            trial = isinstance(do, Fork | Start)
            if isinstance(do, Fork | Start) and self._trials[span.declared].won(do.odds):
                yield self._take_over(span, at_us)
            elif at_us >= span.until_us or (caused and not span.causes and not trial):
                self._drop(span)
                yield self._response(at_us, place, span.said, over=True)

    def _drop(self, span: _Span) -> None:
        self._book.spans.remove(span)
        self._pace(self._places[span.declared])
        self._release |= isinstance(self._declared[span.declared].do, CorrectPrior | RollBack)

    def _take_over(self, span: _Span, at_us: int) -> Response:
        """Have the champion go on from what was learnt in a trial."""
        place = self._places[span.declared]
        self.learners[_FIRST].load(self.learners[place].state())
        self._drop(span)
        self._pace(_FIRST)
        what = f"goes on from {self.names[place]}"
        self._book.news[_FIRST] = f"{what}: {span.said}"
        self._release = True
        figures = self._trials[span.declared].figures()
        return self._response(at_us, _FIRST, what, figures=figures)

    def _pace(self, place: int) -> None:
        """Have a model learn as fast as the newest of what goes on wants it to."""
        learner, spans = self.learners[place], self._going_on(RaiseRate, Fork)
        rates = [span.value for span in spans if self._places[span.declared] == place]
        if isinstance(learner, Adaptive):
            learner.adapt(rates[-1] if rates else 1.0)

    def _response(self, at_us: int, place: int, what: str, **more: Any) -> Response:
        self._book.responses += 1
        number, model = self._book.responses, self.names[place]
        return Response(number=number, at_us=at_us, what=what, model=model, **more)

    def _begin_responses(self, at_us: int, raised: Sequence[Alarm]) -> Iterator[Response]:
        trying = {span.declared for span in self._going_on(Fork, Start)}
        for declared, each in enumerate(self._declared):
            alarms: list[Alarm] = []
            if isinstance(each, Every):
                due = self._is_due(declared, each, at_us) and declared not in trying
            else:
                alarms = [alarm for alarm in raised if each.wants(alarm)]
                due = bool(alarms)
            if due:
                yield self._do(declared, at_us, alarms)

    def _is_due(self, declared: int, each: Every, at_us: int) -> bool:
        """Whether it is; then, and at the first point that there is, it is reckoned anew."""
        due = self._book.due[declared]
        now, wait = (at_us, duration_us(each.time)) if each.time else (self.learnt, each.examples)
        if due < 0 or now >= due:
            self._book.due[declared] = now + wait
        return 0 <= due <= now

    def _do(self, declared: int, at_us: int, alarms: Sequence[Alarm]) -> Response:
        """Do what was declared, note what of it goes on, and say so."""
        do, place = self._declared[declared].do, self._places[declared]
        figures = self._effect(do, place, alarms)
        self._release |= isinstance(do, Retrain)
        self._release |= not isinstance(do, RaiseRate) and any(figures.values())
        numbers = tuple(alarm.number for alarm in alarms)
        what = words(do, figures)
        said = f"{what} (alarm {', '.join(map(str, numbers))})" if numbers else what
        until_us = at_us + duration_us(do.lasting) if isinstance(do, LASTING) and figures else 0
        if until_us:
            self._book.spans = [s for s in self._book.spans if s.declared != declared]
            causes = [cause_of(alarm) for alarm in alarms]
            value = next(iter(figures.values()))
            self._book.spans.append(_Span(declared, until_us, said, value, causes))
            if trial := self._trials.get(declared):
                trial.begin()
            self._pace(place)
        elif isinstance(do, Reset | Retrain):
            self._book.news[place] = said
        return self._response(
            at_us, place, what, alarms=numbers, until_us=until_us, figures=figures
        )

    def _effect(self, do: Action, place: int, alarms: Sequence[Alarm]) -> dict[str, float]:
        """What a response does at once; the figures that say it, none where nothing was done."""
        match do:
            case RaiseRate():
                return {"rate": float(do.times)}
            case Fork():
                self.learners[place].load(self.learners[_FIRST].state())
                return {"rate": float(do.times)}
            case Reset() | Start():
                most = min(do.recent, self._learnt_since(alarms))
                return {"examples": float(self._teach_again(place, most))}
            case Retrain():
                learner = self.learners[place]
                if isinstance(learner, Retrainable):
                    learner.retrain()
                return {}
            case CorrectPrior():
                return shift_of(alarms, do.most)
            case RollBack():
                since_us = min(alarm.since_us for alarm in alarms)
                before = [each for each in self._book.kept[place] if each.at_us <= since_us]
                return {"version": float(before[-1].number)} if before else {}
            case Tell():
                return {}

    def _learnt_since(self, alarms: Sequence[Alarm]) -> int:
        """Examples since the last point before what is told began; all where none is told of."""
        since_us = min((alarm.since_us for alarm in alarms), default=0)
        before = [learnt for at_us, learnt in self._book.points if at_us <= since_us]
        return self.learnt - before[-1] if before else self.learnt

    def _teach_again(self, place: int, most: int) -> int:
        """Have a model begin anew, with the latest examples; how many there were."""
        self.learners[place] = self._models[place].bind(self._inputs)
        x, y, idents = self._latest.examples(most)
        self._teach(place, x, y, idents)
        return len(y)

    def _publish(self) -> None:
        super()._publish()
        book = self._book
        book.said, book.news = book.news, {}
        shifts: dict[int, float] = {}
        for span in book.spans:
            do, place = self._declared[span.declared].do, self._places[span.declared]
            book.said[place] = "; ".join(filter(None, [book.said.get(place), span.said]))
            if isinstance(do, RollBack):
                numbers = [each.number for each in book.kept[place]]
                self.versions[place] = self._stored[place][numbers.index(int(span.value))]
            elif isinstance(do, CorrectPrior):
                shifts[place] = shifts.get(place, 0.0) + span.value
        for place, shift in shifts.items():
            self.versions[place] = Shifted(self.versions[place], shift)

    def made(self) -> list[Made]:
        said = self._book.said
        return [each._replace(response=said.get(at, "")) for at, each in enumerate(super().made())]

    def _keep_versions(self, at_us: int) -> None:
        """Keep the versions in force of models that may be rolled back, unless one is."""
        back = {self._places[span.declared] for span in self._going_on(RollBack)}
        for place, keep in self._keep.items():
            if place in back or self.sequence < max(self._origin, 1):
                continue
            version = self.versions[place]
            self._stored[place].append(version.version if isinstance(version, Shifted) else version)
            self._book.kept[place].append(_Kept(at_us, self.sequence + place))
            del self._stored[place][:-keep], self._book.kept[place][:-keep]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        parts = super().state() | prefixed(_LATEST, self._latest.parts())
        parts[_BOOK] = np.frombuffer(msgspec.msgpack.encode(self._book), np.uint8)
        for declared, trial in self._trials.items():
            parts |= prefixed(f"{_TRIAL}{declared}/", trial.parts())
        for place, versions in self._stored.items():
            for at, version in enumerate(versions):
                parts |= prefixed(f"{_KEPT}{place}/{at}/", version.tensors())
        return {name: part.copy() for name, part in parts.items()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        super().load(state)
        restore(self._latest.parts(), {}, under(_LATEST, state), "what is taught again")
        for declared, trial in self._trials.items():
            own = under(f"{_TRIAL}{declared}/", state)
            restore(trial.parts(), {}, own, "what is tried")
        self._book = msgspec.msgpack.decode(state[_BOOK].tobytes(), type=_Book)
        for place, kept in self._book.kept.items():
            parts = [under(f"{_KEPT}{place}/{at}/", state) for at in range(len(kept))]
            self._stored[place] = [self._version(place, each) for each in parts]

    def _version(self, place: int, tensors: Mapping[str, npt.NDArray[Any]]) -> Version:
        inner, shift = parted(tensors)
        version = super()._version(place, inner)
        return Shifted(version, shift) if shift else version

    def carry_on(
        self, state: Mapping[str, npt.NDArray[Any]], names: Collection[str], published: int
    ) -> list[str]:
        """As a `Lineup`; nothing goes on of what was done, and responses are numbered on."""
        if _BOOK in state:
            before = msgspec.msgpack.decode(state[_BOOK].tobytes(), type=_Book)
            self._book.responses = before.responses
        return super().carry_on(state, names, published)
