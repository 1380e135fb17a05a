"""What every feature means, in plain Python: slow, and on purpose nothing of what the kernels do.

The plain twin of `operators.windows` and `operators.reading`: no running sums, no ring, no kernel.
Each feature is computed from its declaration and a list of the key's events. Tests hold the kernels
to it, and `headrace check skew` holds what a run has logged to it.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import numpy as np

from operators.features import NAN, RUNS, Feature
from streams.schema import DAY, Event, duration_us

POSITIVE, NEGATIVE, UNKNOWN = 1, 0, -1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RUN_WORDS = {code: word for word, code in RUNS.items()}


@dataclass(slots=True)
class Happened:
    """An event and the label that holds for it so far."""

    time: int
    """Microseconds UTC."""
    ident: int
    """Low word of its id; ties in time are broken by it."""
    values: Mapping[str, int | None]
    """Numbers in units of 10**-scale, categories and keys as ident low words; None is missing."""
    known: int | None = None
    """When the label became known."""
    positive: bool = False

    @property
    def place(self) -> tuple[int, int]:
        """Where it comes among its key's events."""
        return self.time, self.ident

    def tell(self, known: int, positive: bool) -> None:
        """Of several labels the one that became known last holds; at equal times the positive."""
        if self.known is None or (known, positive) > (self.known, self.positive):
            self.known, self.positive = known, positive

    def status(self, now: int, maturity: int) -> int:
        """What is known of the label at `now`: silence means negative after the maturity."""
        if self.known is not None and self.known <= now:
            return POSITIVE if self.positive else NEGATIVE
        return NEGATIVE if self.time <= now - maturity else UNKNOWN


@dataclass(slots=True)
class History:
    """One key's events as a list by (time, id).

    >>> history = History()
    >>> history.insert(Happened(5, 1, {}))
    >>> history.insert(Happened(3, 2, {}))
    >>> [event.ident for event in history.until(5, 1, 10)]
    [2, 1]
    """

    events: list[Happened] = field(default_factory=list)

    def insert(self, event: Happened) -> None:
        """Put an event where it belongs, whenever it came."""
        insort(self.events, event, key=lambda each: each.place)

    def find(self, time: int, ident: int) -> Happened | None:
        """The event of this time and id."""
        at = bisect_left(self.events, (time, ident), key=lambda each: each.place)
        found = at < len(self.events) and self.events[at].place == (time, ident)
        return self.events[at] if found else None

    def until(self, time: int, ident: int, horizon: int) -> list[Happened]:
        """The events up to and including (time, id) that are less than the horizon older."""
        first = bisect_right(self.events, time - horizon, key=lambda each: each.time)
        stop = bisect_right(self.events, (time, ident), key=lambda each: each.place)
        return self.events[first:stop]


@dataclass(frozen=True, slots=True)
class Reference:
    """The features of an event by their definitions."""

    event: Event

    def value(
        self, feature: Feature, now: Happened, past: Mapping[str, Sequence[Happened]]
    ) -> float:
        """One feature of `now`.

        `past` has, for each entity the feature or its parts read, the key's events up to and
        including `now`, oldest first and reaching back at least as far as the feature does.
        """
        if feature.parts:
            return _derived(feature, [self.value(part, now, past) for part in feature.parts])
        if not feature.entity:
            return self._of_event(feature, now)
        maturity = self.event.label.maturity_us
        result = _of_key(feature, now, past[feature.entity], self._unit(feature.field), maturity)
        return feature.missing_value if result is None else float(result)

    def _unit(self, name: str) -> int:
        """How many held units make one: 100 for cents."""
        scales = {number.name: number.scale for number in self.event.numbers}
        return int(10 ** scales.get(name, 0))

    def _of_event(self, feature: Feature, now: Happened) -> float:
        at = EPOCH + timedelta(microseconds=now.time)
        held = now.values.get(feature.field)
        match feature.operation:
            case "value":
                return NAN if held is None else held / self._unit(feature.field)
            case "missing":
                return float(held is None)
            case "weekend":
                return float(at.weekday() >= 5)
            case "night":
                return float(at.hour <= feature.argument)
            case "hour":
                return float(at.hour)
            case "weekday":
                return float(at.weekday())
            case "bucket":
                return NAN if held is None else float(held % feature.argument)
        raise ValueError(f"{feature}: there is no definition of {feature.operation!r}")


def _derived(feature: Feature, parts: list[float]) -> float:
    match feature.operation:
        case "ratio":
            return parts[0] / parts[1] if parts[1] else NAN
        case "difference":
            return parts[0] - parts[1]
    return (parts[0] - parts[1]) / parts[2] if parts[2] else NAN


def _of_key(
    feature: Feature, now: Happened, past: Sequence[Happened], unit: int, maturity: int
) -> float | Fraction | None:
    """A feature of a key's events; None where there is nothing to compute from."""
    first, stop = now.time - feature.horizon_us, now.time - duration_us(feature.delay)
    window = [e for e in past if first < e.time <= stop]
    earlier = [e for e in window if e is not now]
    name = feature.field
    then = earlier[-1 - feature.argument] if len(earlier) > feature.argument else None
    there = then.values.get(name) if then else None
    match feature.operation:
        case "count":
            return len(window)
        case "sum":
            return Fraction(sum(_held(window, name)), unit)
        case "positives":
            return len(_positives(window, now.time, maturity))
        case "share":
            positives = len(_positives(window, now.time, maturity))
            return Fraction(positives, len(window)) if window else None
        case "mean":
            return _mean(_held(window, name), unit)
        case "past_mean":
            return _mean(_held(earlier, name), unit)
        case "std":
            return _deviation(_held(window, name), unit)
        case "past_std":
            return _deviation(_held(earlier, name), unit)
        case "minimum":
            return Fraction(min(held), unit) if (held := _held(window, name)) else None
        case "maximum":
            return Fraction(max(held), unit) if (held := _held(window, name)) else None
        case "distinct":
            return len(set(_held(window, name)))
        case "seen":
            return sum(e.values.get(name) == now.values.get(name) for e in earlier)
        case "since_last":
            return (now.time - then.time) / DAY if then else None
        case "lag":
            return None if there is None else Fraction(there, unit)
        case "same":
            here = now.values.get(name)
            return None if there is None or here is None else here == there
        case "since_first":
            return (now.time - window[0].time) / DAY
        case "since_positive":
            old = _positives(earlier, now.time, maturity)
            return (now.time - old[-1].time) / DAY if old else None
        case "hour_share":
            near = [e for e in earlier if _apart(e.time, now.time) <= feature.argument]
            return Fraction(len(near), len(earlier)) if earlier else None
        case "run":
            return _run(feature, now, earlier, unit, maturity)
        case "custom":
            return _custom(feature, now, window, maturity)
    within = now.time - duration_us(feature.within)
    recent = [e for e in past if e.time > within and e is not now]
    return _clean(feature, now, earlier, recent, unit, maturity)


def _held(events: Sequence[Happened], name: str) -> list[int]:
    """The values that are there."""
    return [value for event in events if (value := event.values.get(name)) is not None]


def _positives(events: Sequence[Happened], now: int, maturity: int) -> list[Happened]:
    return [event for event in events if event.status(now, maturity) == POSITIVE]


def _mean(values: Sequence[int], unit: int) -> Fraction | None:
    return Fraction(sum(values), len(values) * unit) if values else None


def _deviation(values: Sequence[int], unit: int, sample: int = 1) -> float | None:
    """The standard deviation, from exact sums."""
    n = len(values)
    if n <= sample:
        return None
    square = Fraction(sum(v * v for v in values)) - Fraction(sum(values) ** 2, n)
    return math.sqrt(square / (n - sample)) / unit


def _apart(left: int, right: int) -> int:
    """How far apart two times of day are, the shorter way round."""
    apart = abs(left % DAY - right % DAY)
    return min(apart, DAY - apart)


def _run(
    feature: Feature, now: Happened, earlier: Sequence[Happened], unit: int, maturity: int
) -> float | Fraction | None:
    """A word of the latest run of positives, back to the latest negative that is known."""
    known = [(e, e.status(now.time, maturity)) for e in earlier]
    negatives = [place for place, (_, status) in enumerate(known) if status == NEGATIVE]
    negative = earlier[negatives[-1]] if negatives else None
    run = [e for e, status in known[negatives[-1] + 1 if negatives else 0 :] if status == POSITIVE]
    match RUN_WORDS[feature.argument]:
        case "length":
            return len(run) if run or negative else None
        case "age":
            return (now.time - run[0].time) / DAY if run else None
        case "gap":
            return (run[0].time - negative.time) / DAY if run and negative else None
        case "least":
            return Fraction(min(held), unit) if (held := _held(run, feature.field)) else None
    return (now.time - negative.time) / DAY if negative else None


def _clean(
    feature: Feature,
    now: Happened,
    earlier: Sequence[Happened],
    recent: Sequence[Happened],
    unit: int,
    maturity: int,
) -> float | Fraction | None:
    """This event, or the last days, against the key's clean past (`Entity.clean_mean`)."""
    clean = [e for e in earlier if e.status(now.time, maturity) != POSITIVE]
    matured = _held([e for e in clean if e.time <= now.time - maturity], feature.field)
    values = matured if len(matured) >= feature.argument else _held(clean, feature.field)
    here, count, total = now.values.get(feature.field), len(values), sum(values)
    late = _held(recent, feature.field)
    match feature.operation:
        case "clean_mean":
            return _mean(values, unit)
        case "clean_ratio":
            return Fraction(here * count, total) if total and here is not None else None
        case "clean_zscore":
            spread = _deviation(values, 1, sample=0)
            if not spread or here is None or count < max(feature.argument, 2):
                return None
            return float(here - Fraction(total, count)) / spread
        case "largest_clean_ratio":
            return Fraction(max(late) * count, total) if total > 0 and late else None
        case "clean_excess":
            if total <= 0:
                return None
            above = feature.factor * total / count
            return sum(max(0.0, value - above) for value in late) * count / total
    raise ValueError(f"{feature}: there is no definition of {feature.operation!r}")


def _custom(feature: Feature, now: Happened, window: Sequence[Happened], maturity: int) -> float:
    """The user's own function as plain Python, on arrays made anew."""
    function = getattr(feature.function, "py_func", feature.function)
    held = [e.values.get(feature.field) for e in window]
    return float(
        function(  # type: ignore[misc]
            np.array([e.time for e in window], np.int64),
            np.array([-(2**63) if v is None else v for v in held], np.int64),
            np.array([e.status(now.time, maturity) for e in window], np.int8),
        )
    )
