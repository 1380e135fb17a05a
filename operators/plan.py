"""From declared features to the arrays the kernels read: boundaries, accumulators and operations
per entity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operators import reading, ring, windows
from operators.features import CODES, DERIVED_OPERATIONS, EVENT_OPERATIONS, LAGGED, Feature
from streams.errors import ConfigError
from streams.schema import DAY, Event, Number, duration_us

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

LONGEST = 400 * DAY
LABELLED = {"share", "positives", "since_positive", "run", "custom"}
CLEAN = {"clean_mean", "clean_ratio", "clean_zscore", "largest_clean_ratio", "clean_excess"}
"""Operations that need the label in the record."""


@dataclass(frozen=True, slots=True)
class EntityPlan:
    """What the window kernels need to know of one entity (see `operators.ring` and
    `operators.reading`).
    """

    key: str
    shape: Int64s
    ages: Int64s
    accs: Int64s
    acc_from: Int64s
    ops: Int64s
    reals: Float64s
    fields: Int64s
    field_names: tuple[str, ...]

    @property
    def header_bytes(self) -> int:
        """Bytes of a key before its first event."""
        return 8 * int(self.shape[ring.HEAD])

    @property
    def event_bytes(self) -> int:
        """Bytes a retained event takes."""
        return 8 * int(self.shape[ring.STRIDE])


@dataclass(frozen=True, slots=True)
class Plan:
    """All features compiled: `names` in order, then parts that only derived features read."""

    names: tuple[str, ...]
    columns: tuple[Feature, ...]
    entities: tuple[EntityPlan, ...]
    event_ops: Int64s
    derived_ops: Int64s
    units: Float64s
    """(columns,) what a number is divided by to be in its own units."""


def compile_plan(
    event: Event, features: Mapping[str, Feature], *, lateness_us: int, cap: int
) -> Plan:
    """Check the declared features against the event and lay them out for the kernels.

    Raises ConfigError naming the feature, for a field or key the event does not have, a horizon
    that is missing or too long, or a number whose squares could overflow 63 bits at this cap.
    """
    columns = list(dict.fromkeys(features.values()))
    if len(columns) < len(features):
        columns = list(features.values())
    for feature in features.values():
        for part in _parts(feature):
            if part not in columns:
                columns.append(part)
    names = {id(f): n for n, f in features.items()}
    for feature in columns:
        _check(names.get(id(feature), str(feature)), feature, event)
    entities = tuple(
        _entity(event, key, columns, lateness_us, cap)
        for key in event.keys
        if any(f.entity == key for f in columns)
    )
    return Plan(
        names=tuple(features),
        columns=tuple(columns),
        entities=entities,
        event_ops=_event_ops(event, columns),
        derived_ops=_derived_ops(columns),
        units=np.round([1 / _scale(event, feature) for feature in columns]),
    )


def _parts(feature: Feature) -> list[Feature]:
    return [p for part in feature.parts for p in (*_parts(part), part)]


def _check(name: str, feature: Feature, event: Event) -> None:
    numbers = [number.name for number in event.numbers]
    categories = [category.name for category in event.categories]
    known = {"value": numbers, "lag": numbers, "bucket": categories}
    fields = known.get(feature.operation, list(event.fields))
    if feature.field and feature.field not in fields:
        raise ConfigError(f"feature {name}: no field {feature.field!r}; there are {fields}")
    if feature.entity and feature.entity not in event.keys:
        keys = ", ".join(event.keys)
        raise ConfigError(f"feature {name}: no entity key {feature.entity!r}; there are {keys}")
    if feature.entity and duration_us(feature.last) <= 0:
        raise ConfigError(f"feature {name}: a window needs a length such as '7d'")
    if feature.horizon_us > LONGEST:
        raise ConfigError(
            f"feature {name}: it looks back {feature.horizon_us // DAY} days; 400 at most"
        )


def _number(event: Event, field: str) -> Number | None:
    return next((number for number in event.numbers if number.name == field), None)


def _scale(event: Event, feature: Feature) -> float:
    number = _number(event, feature.field)
    return 1.0 if number is None else 1 / 10**number.scale


class _Layout:
    """The boundaries, accumulators and entry words of one entity, collected as its features need
    them.
    """

    def __init__(self, event: Event, key: str, columns: list[Feature]) -> None:
        self.event = event
        mine = [feature for feature in columns if feature.entity == key]
        self.labelled = any(f.operation in LABELLED or f.operation in CLEAN for f in mine)
        spans = {duration_us(f.delay) for f in mine} | {f.horizon_us for f in mine}
        if any(f.operation in CLEAN for f in mine):
            spans |= {event.label.maturity_us} | {duration_us(f.within) for f in mine}
        self.ages = sorted(spans | {0})
        self.fields = list(dict.fromkeys(f.field for f in mine if f.field))
        self.accs: dict[tuple[int, int, int], int] = {}
        self.head = ring.HEADER + len(self.ages)

    def bound(self, age: int) -> int:
        return self.ages.index(age)

    def word(self, field: str) -> int:
        return 2 + self.labelled + self.fields.index(field) if field else 0

    def source(self, field: str) -> tuple[int, int]:
        """Where an entry's word comes from in a batch."""
        number = _number(self.event, field)
        if number is not None:
            return windows.NUMBER, self.event.numbers.index(number)
        names = [category.name for category in self.event.categories]
        if field in names:
            return windows.CATEGORY, names.index(field)
        if field in self.event.keys:
            return windows.KEY, self.event.keys.index(field)
        raise ConfigError(
            f"windows cannot hold the field {field!r}: name a number, category or key"
        )

    def acc(self, kind: int, field: str, *ages: int) -> list[int]:
        """Places after the header of an accumulator past each of these ages."""
        word = 0 if kind == ring.POSITIVES else self.word(field)
        keys = [(self.bound(age), kind, word) for age in ages]
        for key in keys:
            if key not in self.accs:
                self.accs[key] = self.head - ring.HEADER
                self.head += 3 if kind == ring.CLEAN else 1
        return [self.accs[key] for key in keys]

    def counted(self, feature: Feature, *ages: int) -> list[int]:
        """Places of what counts the events which have the field."""
        number = _number(self.event, feature.field)
        if number is None or number.required:
            return [self.bound(age) for age in ages]
        return self.acc(ring.PRESENT, feature.field, *ages)

    def places(self, feature: Feature, low: int, up: int) -> list[int]:
        """The last six columns of `ops`."""
        field = feature.field
        match feature.operation:
            case "count":
                return [self.bound(low), self.bound(up), 0, 0, 0, 0]
            case "sum":
                return [0, 0, *self.acc(ring.SUM, field, low, up), 0, 0]
            case "positives" | "since_positive":
                return [0, 0, *self.acc(ring.POSITIVES, field, low, up), 0, 0]
            case "share":
                positives = self.acc(ring.POSITIVES, field, low, up)
                return [self.bound(low), self.bound(up), *positives, 0, 0]
            case "mean" | "past_mean":
                counted = self.counted(feature, low, up)
                return [*counted, *self.acc(ring.SUM, field, low, up), 0, 0]
            case "std" | "past_std":
                counted = self.counted(feature, low, up)
                sums = self.acc(ring.SUM, field, low, up)
                return [*counted, *sums, *self.acc(ring.SQUARES, field, low, up)]
            case name if name in CLEAN:
                ages = low, self.event.label.maturity_us, 0
                horizon, matured, everything = self.acc(ring.CLEAN, field, *ages)
                return [0, matured, horizon, everything, 0, 0]
        return [0] * 6

    def op(self, out: int, feature: Feature) -> list[int]:
        """One row of `ops`; see `operators.reading`."""
        low, up = feature.horizon_us, duration_us(feature.delay)
        places = self.places(feature, low, up)
        seen = duration_us(feature.within) or low
        return [
            CODES[feature.operation], out, self.word(feature.field), self.bound(seen),
            self.bound(up), feature.argument, *places,
        ]  # fmt: skip


def _share_runs(rows: list[list[int]]) -> None:
    """Let the words of one run be read by all that look equally far back, so that it is walked
    once.
    """
    for row in rows:
        if row[reading.CODE] == reading.RUN and not row[reading.WORD]:
            for other in rows:
                if (
                    other[reading.CODE] == reading.RUN
                    and other[reading.LOWER] == row[reading.LOWER]
                ):
                    row[reading.WORD] = max(row[reading.WORD], other[reading.WORD])


def _share_weeks(rows: list[list[int]], reals: list[list[float]]) -> None:
    """Let the largest recent value be found on the walk that sums what exceeds a limit."""
    own = (reading.WORD, reading.LOWER, reading.LOW, reading.ARGUMENT)
    for row, real in zip(rows, reals, strict=True):
        for other, limit in zip(rows, reals, strict=True):
            codes = row[reading.CODE], other[reading.CODE]
            same = [row[column] for column in own] == [other[column] for column in own]
            if same and codes == (reading.LARGEST_CLEAN_RATIO, reading.CLEAN_EXCESS):
                real[reading.FACTOR] = limit[reading.FACTOR]


def _entity(
    event: Event, key: str, columns: list[Feature], lateness_us: int, cap: int
) -> EntityPlan:
    layout = _Layout(event, key, columns)
    customs = [feature for feature in columns if feature.function is not None]
    rows, reals = [], []
    for out, feature in enumerate(columns):
        if feature.entity == key:
            row = layout.op(out, feature)
            if feature.function is not None:
                row[reading.ARGUMENT] = customs.index(feature)
            rows.append(row)
            scale = 1.0 if feature.operation == "share" else _scale(event, feature)
            reals.append([scale, feature.missing_value, feature.factor])
    _share_runs(rows)
    _share_weeks(rows, reals)
    _check_squares(event, layout, key, cap)
    # Of two neighbours in the older half of a full ring, some have no boundary between them. Events
    # in the newer half are never merged.
    lags = [feature.argument + 2 for feature in columns if feature.operation in LAGGED]
    if cap < (least := 2 * max(len(layout.ages) + 2, *lags, 0)):
        raise ConfigError(
            f"{key}: wanted a cap of at least {least} events for its windows, got {cap}"
        )
    accs = sorted((bound, kind, word, place) for (bound, kind, word), place in layout.accs.items())
    scanning = [row[reading.LOWER] for row in rows if row[reading.CODE] >= reading.MINIMUM]
    shape = np.zeros(8, np.int64)
    shape[ring.STRIDE] = 2 + layout.labelled + len(layout.fields)
    shape[ring.HEAD], shape[ring.BOUNDS] = layout.head, len(layout.ages)
    shape[ring.LABELLED], shape[ring.CAP] = layout.labelled, cap
    shape[ring.RETENTION] = max(layout.ages) + lateness_us
    shape[ring.MATURITY] = event.label.maturity_us
    shape[ring.SCAN] = max(scanning, default=-1)
    bounds = [bound for bound, *_ in accs]
    return EntityPlan(
        key=key,
        shape=shape,
        ages=np.array(layout.ages, np.int64),
        accs=np.array([row for _, *row in accs], np.int64).reshape(-1, 3),
        acc_from=np.searchsorted(bounds, np.arange(len(layout.ages) + 1)).astype(np.int64),
        ops=np.array(rows, np.int64),
        reals=np.array(reals),
        fields=np.array([layout.source(f) for f in layout.fields], np.int64).reshape(-1, 2),
        field_names=tuple(layout.fields),
    )


def _check_squares(event: Event, layout: _Layout, key: str, cap: int) -> None:
    for _, kind, word in layout.accs:
        if kind in {ring.PRESENT, ring.POSITIVES}:
            continue
        field = layout.fields[word - 2 - layout.labelled]
        number = _number(event, field)
        if number is None:
            raise ConfigError(f"{key}: {field!r} is no number, it cannot be summed")
        power = 1 if kind == ring.SUM else 2
        if cap * number.largest**power >= 2**63:
            raise ConfigError(
                f"{key}: {cap} events of {field!r} up to {number.maximum} could overflow 63 bits: "
                "lower its maximum, its scale or the cap"
            )


def _event_ops(event: Event, columns: list[Feature]) -> Int64s:
    """Rows (code, out, column, argument)."""
    names = [number.name for number in event.numbers]
    categories = [category.name for category in event.categories]
    rows = []
    for out, feature in enumerate(columns):
        if feature.operation not in EVENT_OPERATIONS:
            continue
        code = EVENT_OPERATIONS.index(feature.operation)
        column = 0
        if feature.field in names:
            column = names.index(feature.field)
        elif feature.field in categories:
            column = categories.index(feature.field)
            code += feature.operation == "missing" and 100
        rows.append((code, out, column, feature.argument))
    return np.array(rows, np.int64).reshape(-1, 4)


def _derived_ops(columns: list[Feature]) -> Int64s:
    """Rows (code, out, part, part, part), parts before those that read them."""
    rows = {}
    for out, feature in enumerate(columns):
        if feature.operation in DERIVED_OPERATIONS:
            parts = [columns.index(part) for part in feature.parts]
            code = DERIVED_OPERATIONS.index(feature.operation)
            rows[out] = (code, out, *parts, *[0] * (3 - len(parts)))
    depth = {out: _depth(columns[out]) for out in rows}
    return np.array(
        [rows[out] for out in sorted(rows, key=lambda o: (depth[o], o))], np.int64
    ).reshape(-1, 5)


def _depth(feature: Feature) -> int:
    return 1 + max(map(_depth, feature.parts)) if feature.parts else 0
