"""The rules every value obeys, applied to whole columns.

The decoder and the file sources share them. A column comes in as text (large_string), integers, or
floats with NaN for absent; it leaves as the column a `Batch` holds, and each row that breaks a rule
is noted in `Problems`. Such rows carry placeholders until they are taken out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streams.batch import LABEL, UNKNOWN, Batch
from streams.errors import ConfigError, Reason
from streams.ident import idents
from streams.schema import (
    EARLIEST,
    LATEST,
    MISSING,
    SECOND,
    Category,
    Event,
    Number,
    duration_us,
)
from streams.timestamps import NOT_A_TIME, time_text

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

LONGEST_TEXT = 256
"""Bytes of UTF-8 in an id, key or category."""
LARGEST_UNITS = 2**49
"""Numbers stay below this many units, so that a double still tells one unit from the next."""

TOLERANCE = 1e-6
"""Part of a unit that a number may be off."""
"""How far from a whole number of units a number may be."""
_DECIMAL_IDENTS = 10**18
_SHOWN = 40
RECENT_SECONDS = 1_000_000_000
"""2001-09-09 in seconds: an integer from here to 2200, in s or ms, is not microseconds."""


def optional_fields(event: Event) -> set[str]:
    """The names of the fields that may be absent."""
    numbers = {each.name for each in event.numbers if not each.required}
    return numbers | {each.name for each in event.categories if not each.required}


class Problems(dict[int, tuple[Reason, str]]):
    """Row → why it is a dead letter; the first problem found in a row is the one it keeps."""

    def note(self, bad: Bools, reason: Reason, detail: Callable[[int], str]) -> None:
        """Note `reason` for the rows where `bad`, with the detail of each."""
        if bad.any():
            for row in np.flatnonzero(bad).tolist():
                if row not in self:
                    self[row] = (reason, detail(row))


def shown(value: object) -> str:
    """A value as an error message shows it: its repr, cut.

    >>> shown("x" * 99)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"
    """
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def check_texts(field: str, texts: pa.Array, problems: Problems, out: Int64s) -> pa.Array:
    """An id, key or category column, large_string or int64 without nulls; `out` (n, 2) zeros.

    Returns the column and writes its idents to `out`.

    Text is 1 to 256 bytes, an integer not negative. Integers of 19 digits become text, so that an
    ident does not depend on how a number was written.
    """
    if pa.types.is_integer(texts.type):
        values = texts.to_numpy(zero_copy_only=False)
        problems.note(
            values < 0,
            Reason.OUT_OF_RANGE,
            lambda row: f"{field} must not be negative; got {values[row]}",
        )
        if len(values) == 0 or values.max() < _DECIMAL_IDENTS:
            out[:, 1] = values
            return texts
        texts = texts.cast(pa.large_string())
    lengths = text_lengths(texts)
    problems.note(
        (lengths == 0) | (lengths > LONGEST_TEXT),
        Reason.BAD_TEXT,
        lambda row: f"{field} must have 1 to {LONGEST_TEXT} bytes; got {lengths[row]}",
    )
    out[:] = idents(texts)
    return texts


def text_lengths(texts: pa.Array) -> Int64s:
    """Bytes in each value of a large_string or large_binary column."""
    if not len(texts):
        return np.zeros(0, np.int64)
    bounds = np.frombuffer(texts.buffers()[1], np.int64)
    return np.diff(bounds[texts.offset : texts.offset + len(texts) + 1])


def check_times(
    field: str, time: Int64s, latest: int | Int64s, integers: Bools | None, problems: Problems
) -> None:
    """Event times in microseconds: 1970 to 2200, not beyond `latest`, and not in another unit.

    `latest` is that of all or of each. `integers` marks the rows written as bare integers, which
    may be seconds or milliseconds.
    """
    if not len(time):
        return
    least, most = int(time.min()), int(time.max())
    if integers is not None and least < LATEST // 1000:
        _check_unit(field, time, integers, problems)
    if least < EARLIEST or most >= LATEST:
        problems.note(
            time == NOT_A_TIME, Reason.BAD_TIME, lambda _: f"{field} is no RFC 3339 timestamp"
        )
        problems.note(time < EARLIEST, Reason.TIME_TOO_EARLY, lambda _: f"{field} is before 1970")
        problems.note(time >= LATEST, Reason.TIME_TOO_LATE, lambda _: f"{field} is 2200 or later")
    if np.any(most > latest):
        limit = np.broadcast_to(latest, len(time))
        problems.note(
            time > limit,
            Reason.TIME_AHEAD,
            lambda row: (
                f"{field} is {time_text(int(time[row]))}; the latest to be believed on "
                f"receipt is {time_text(int(limit[row]))}"
            ),
        )


def _check_unit(field: str, time: Int64s, integers: Bools, problems: Problems) -> None:
    for unit, per_second in (("seconds", 1), ("milliseconds", 1000)):
        like = (
            integers
            & (time >= RECENT_SECONDS * per_second)
            & (time < LATEST // SECOND * per_second)
        )
        detail = partial(_unit_detail, field, unit, time)
        problems.note(like, Reason.TIME_TOO_EARLY, detail)


def _unit_detail(field: str, unit: str, time: Int64s, row: int) -> str:
    return f"{field} looks like {unit}, integers are microseconds; got {time[row]}"


def check_numbers(number: Number, values: Floats, problems: Problems) -> Int64s:
    """A number column, NaN where absent, in int64 units of 10**-scale, MISSING where absent.

    A value within 1e-6 of a unit (or its own precision, where that is coarser) is that unit.
    """
    unit = 10.0**number.scale
    low, high = round(number.minimum * unit), round(number.maximum * unit)
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = values * unit
        units = np.rint(scaled)
        within = (units >= low) & (units <= high)
        exact = np.abs(scaled - units) <= TOLERANCE + np.abs(scaled) * 2.0**-51
    if not (within & exact).all():
        absent = np.isnan(values)
        _explain_numbers(number, values, within | absent, exact | absent, problems)
        if number.required:
            problems.note(absent, Reason.MISSING_FIELD, lambda _: f"{number.name} is required")
        units[~within] = 0
        column = np.asarray(units, np.int64)
        column[absent] = MISSING
        return column
    return np.asarray(units, np.int64)


def _explain_numbers(
    number: Number, values: Floats, within: Bools, exact: Bools, problems: Problems
) -> None:
    name = number.name
    problems.note(
        np.isinf(values), Reason.NOT_FINITE, lambda row: f"{name} must be finite; got {values[row]}"
    )
    problems.note(
        ~within,
        Reason.OUT_OF_RANGE,
        lambda row: f"{name} must be {number.minimum} to {number.maximum}; got {values[row]}",
    )
    problems.note(
        ~exact,
        Reason.WRONG_SCALE,
        lambda row: f"{name} has at most {number.scale} decimals; got {float(values[row])!r}",
    )


def check_event(event: Event) -> None:
    """Refuse an event whose fields clash or whose numbers are too large to be held exactly."""
    names = [*event.fields, event.label.name, "v"]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = f"event {event.name!r}: field names must differ (v is the schema version); twice"
        raise ConfigError(f"{message}: {', '.join(twice)}")
    for number in event.numbers:
        if number.largest >= LARGEST_UNITS:
            wanted = f"a number has less than 2**49 units of 10**-{number.scale}"
            raise ConfigError(
                f"event {event.name!r}: {wanted}; {number.name!r} has up to {number.largest}: "
                "lower its maximum or its scale"
            )


class Columns:
    """A `Batch` of one kind in the making: columns are checked as they are put in.

    >>> from streams.batch import EVENT
    >>> from streams.schema import Label
    >>> event, problems = Event("click", keys=(), label=Label("bought")), Problems()
    >>> columns = Columns(event, EVENT, 2, None, problems)
    >>> columns.time(np.array([7, -7]), None)
    >>> columns.text(0, "id", pa.array([1, 2]))
    >>> len(columns.batch()[0]), problems
    (1, {1: (<Reason.TIME_TOO_EARLY: 'time too early'>, 'time is before 1970')})
    """

    def __init__(
        self,
        event: Event,
        kind: int,
        rows: int,
        received: int | Int64s | None,
        problems: Problems,
    ) -> None:
        self._event = event
        self._problems = problems
        self._received = received
        self._ahead = duration_us(event.max_ahead)
        keys = len(event.keys)
        blank = pa.array([""] * rows if kind == LABEL else [], pa.large_string())
        self._batch = Batch(
            kind=np.full(rows, kind, np.uint8),
            time=np.zeros(rows, np.int64),
            idents=np.zeros((rows, 1 + keys, 2), np.int64),
            numbers=np.zeros((rows, len(event.numbers)), np.int64),
            categories=np.zeros((rows, len(event.categories)), np.int64),
            label=np.full(rows, UNKNOWN, np.int8),
            received=np.full(rows, 0 if received is None else received, np.int64),
            partition=np.zeros(rows, np.int32),
            offset=np.zeros(rows, np.int64),
            texts=(),
        )
        self._texts = [blank] * (1 + keys)

    def time(self, time: Int64s, integers: Bools | None) -> None:
        """Microseconds UTC; `integers` marks those written as bare integers, None: none."""
        latest = LATEST if self._received is None else self._received + self._ahead
        check_times(self._event.time, time, latest, integers, self._problems)
        self._batch.time[:] = time
        if self._received is None:
            self._batch.received[:] = time

    def text(self, place: int, name: str, texts: pa.Array) -> None:
        """The id (place 0) or a key (from 1), large_string or int64; a null is a missing field."""
        texts = self._without_nulls(name, texts)
        self._texts[place] = check_texts(name, texts, self._problems, self._batch.idents[:, place])

    def checked_texts(self, texts: list[pa.Array], found: list[Int64s]) -> None:
        """The id, and what keys there are, with their idents, as `streams.texts` gives them."""
        self._texts[: len(texts)] = texts
        for place, each in enumerate(found):
            self._batch.idents[:, place] = each

    def number(self, place: int, number: Number, values: Floats) -> None:
        """A number, NaN where absent."""
        self._batch.numbers[:, place] = check_numbers(number, values, self._problems)

    def category(self, place: int, category: Category, texts: pa.Array) -> None:
        """A category, null where absent."""
        absent = np.asarray(texts.is_null())
        if category.required or not absent.any():
            absent = np.zeros(len(texts), np.bool_)
            texts = self._without_nulls(category.name, texts)
        else:
            texts = texts.fill_null(0 if pa.types.is_integer(texts.type) else "-")
        out = np.zeros((len(texts), 2), np.int64)
        check_texts(category.name, texts, self._problems, out)
        self._batch.categories[:, place] = np.where(absent, MISSING, out[:, 1])

    def label(self, label: npt.NDArray[np.int8]) -> None:
        """1, 0 or UNKNOWN."""
        self._batch.label[:] = label

    def batch(self) -> tuple[Batch, Int64s]:
        """The rows without problems, and which of the rows put in they are."""
        batch = replace(self._batch, texts=tuple(self._texts))
        rows = np.arange(len(batch))
        if not self._problems:
            return batch, rows
        good = np.delete(rows, list(self._problems))
        return batch.take(good), good

    def _without_nulls(self, name: str, texts: pa.Array) -> pa.Array:
        if not texts.null_count:
            return texts
        self._problems.note(
            np.asarray(texts.is_null()), Reason.MISSING_FIELD, lambda _: f"{name} is required"
        )
        return texts.fill_null(0 if pa.types.is_integer(texts.type) else "-")
