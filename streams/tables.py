"""Arrow columns, as Parquet and CSV files have them, to a `Batch` and dead letters."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from streams.batch import EVENT, UNKNOWN, Batch
from streams.columns import Columns, Problems, shown
from streams.errors import DeadLetter, InputError, Reason
from streams.schema import Event
from streams.timestamps import NOT_A_TIME, parse

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

_PER_UNIT = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000)}
_DAY = 86_400_000_000
_FLAGS = {"0": 0, "1": 1, "false": 0, "true": 1, "False": 0, "True": 1}


def from_columns(
    event: Event,
    columns: Mapping[str, pa.Array],
    received: int | None,
    topic: str = "",
    partition: int = 0,
    offsets: Int64s | None = None,
) -> tuple[Batch, list[DeadLetter]]:
    """The good rows in order, and a dead letter for each of the others.

    `columns` holds an array per field of the event, equally long; optional fields may lack. With a
    column for the label `Batch.label` holds it. Times are timestamps, dates, RFC 3339 text or
    integer microseconds; nulls and NaN are absent; a number may also be text or a decimal.
    `received` None means each at its own time. A column of no usable type is an `InputError`.
    """
    return _Table(event, columns, received, topic).batch(partition, offsets)


class _Table:
    def __init__(
        self, event: Event, columns: Mapping[str, pa.Array], received: int | None, topic: str
    ) -> None:
        self._event = event
        self._arrays = {name: _plain(array) for name, array in columns.items()}
        self._topic = topic
        self._received = received
        self._rows = len(columns[event.id])
        self._problems = Problems()

    def batch(self, partition: int, offsets: Int64s | None) -> tuple[Batch, list[DeadLetter]]:
        offsets = np.arange(self._rows, dtype=np.int64) if offsets is None else offsets
        event = self._event
        columns = Columns(event, EVENT, self._rows, self._received, self._problems)
        columns.time(*self._times(event.time))
        for place, name in enumerate((event.id, *event.keys)):
            columns.text(place, name, self._entities(name))
        for place, number in enumerate(event.numbers):
            columns.number(place, number, self._numbers(number.name))
        for place, category in enumerate(event.categories):
            columns.category(place, category, self._entities(category.name))
        if event.label.name in self._arrays:
            columns.label(self._flags(event.label.name))
        batch, good = columns.batch()
        batch.partition[:] = partition
        batch.offset[:] = offsets[good]
        return batch, [
            DeadLetter(
                *self._problems[row],
                topic=self._topic,
                partition=partition,
                offset=int(offsets[row]),
                time_us=self._received or 0,
                raw=self._raw(row),
            )
            for row in sorted(self._problems)
        ]

    def _raw(self, row: int) -> bytes:
        values = {name: array[row].as_py() for name, array in self._arrays.items()}
        return orjson.dumps(values, default=repr)

    def _array(self, name: str) -> pa.Array:
        """The column; of one that lacks, nulls."""
        absent = self._arrays.get(name)
        return pa.nulls(self._rows, pa.large_string()) if absent is None else absent

    def _texts(self, name: str, array: pa.Array, wanted: str) -> pa.Array:
        """The column as large_string or int64."""
        if pa.types.is_integer(array.type):
            wide = pa.types.is_uint64(array.type) and (pc.max(array).as_py() or 0) >= 2**63
            return array.cast(pa.large_string() if wide else pa.int64())
        if pa.types.is_large_binary(array.type):
            return self._utf8(name, array)
        if pa.types.is_large_string(array.type):
            return array
        raise self._refused(name, array, wanted)

    def _entities(self, name: str) -> pa.Array:
        return self._texts(name, self._array(name), "text or integers")

    def _utf8(self, name: str, array: pa.Array) -> pa.Array:
        array, bad = _converted(array, pa.large_string())
        self._note(bad, Reason.BAD_TEXT, lambda _: f"{name} is not UTF-8")
        return array.fill_null("-") if bad.any() else array

    def _numbers(self, name: str) -> Floats:
        array = self._array(name)
        if pa.types.is_boolean(array.type) or pa.types.is_temporal(array.type):
            raise self._refused(name, array, "numbers")
        if pa.types.is_large_binary(array.type):
            array = self._utf8(name, array)
        try:
            converted, bad = _converted(array, pa.float64())
        except pa.ArrowNotImplementedError:
            raise self._refused(name, array, "numbers") from None
        if bad.any():
            self._note(
                bad,
                Reason.WRONG_TYPE,
                lambda row: f"{name} must be a number; got {shown(array[row].as_py())}",
            )
        return np.asarray(converted.to_numpy(zero_copy_only=False), np.float64)

    def _times(self, name: str) -> tuple[Int64s, Bools | None]:
        """Microseconds, and which rows were bare integers (None: none)."""
        array = self._array(name)
        if array.null_count:
            null = np.asarray(array.is_null())
            self._note(null, Reason.MISSING_FIELD, lambda _: f"{name} is required")
            array = array.fill_null(_zero(array.type))
        kind = array.type
        if pa.types.is_timestamp(kind):
            ticks = array.cast(pa.int64()).to_numpy(zero_copy_only=False)
            per, over = _PER_UNIT[kind.unit]
            return np.clip(ticks // over, -(2**62) // per, 2**62 // per) * per, None
        if pa.types.is_date(kind):
            days = array.cast(pa.date32()).cast(pa.int32()).to_numpy(zero_copy_only=False)
            return days.astype(np.int64) * _DAY, None
        texts = self._texts(name, array, "timestamps, text or integers")
        if pa.types.is_integer(texts.type):
            return texts.to_numpy(zero_copy_only=False), np.ones(self._rows, np.bool_)
        times = parse(texts)
        other = np.flatnonzero(times == NOT_A_TIME)
        if not len(other):
            return times, None
        numbers, bad = _converted(texts.take(pa.array(other)), pa.int64())
        integers = np.zeros(self._rows, np.bool_)
        integers[other] = ~bad
        times[integers] = np.asarray(numbers.drop_null())
        return times, integers

    def _flags(self, name: str) -> npt.NDArray[np.int8]:
        array = self._array(name)
        if pa.types.is_boolean(array.type):
            array = array.cast(pa.int8())
        elif pa.types.is_large_binary(array.type) or pa.types.is_large_string(array.type):
            values = self._entities(name).to_pylist()
            array = pa.array([None if each is None else _FLAGS.get(each, 2) for each in values])
        try:
            flags = array.cast(pa.float64()).fill_null(UNKNOWN).to_numpy(zero_copy_only=False)
        except pa.ArrowNotImplementedError:
            raise self._refused(name, array, "booleans or 0 and 1") from None
        known = np.nan_to_num(flags, nan=UNKNOWN)
        bad = ~np.isin(known, (UNKNOWN, 0, 1))
        self._note(bad, Reason.WRONG_TYPE, lambda _: f"{name} must be true or false, or 1 or 0")
        return np.where(bad, UNKNOWN, known).astype(np.int8)

    def _note(self, bad: Bools, reason: Reason, detail: Callable[[int], str]) -> None:
        self._problems.note(bad, reason, detail)

    def _refused(self, name: str, array: pa.Array, wanted: str) -> InputError:
        return InputError(
            f"{self._topic}: the column for {name!r} is of type {array.type}, wanted {wanted}; "
            "name another with --columns"
        )


def _plain(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array, text and bytes with 64-bit offsets, dictionaries resolved."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
        array = array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type):
        return array.cast(pa.large_string())
    return array.cast(pa.large_binary()) if pa.types.is_binary(array.type) else array


def _zero(kind: pa.DataType) -> pa.Scalar:
    if pa.types.is_large_binary(kind):
        return pa.scalar(b"", kind)
    return pa.scalar("" if pa.types.is_large_string(kind) else 0, kind)


def _converted(array: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Bools]:
    """The values as another type, null where one cannot be, and where that was.

    Halves what does not convert as a whole, so that a value's fate hangs on no other.
    """
    try:
        return array.cast(kind), np.zeros(len(array), np.bool_)
    except pa.ArrowInvalid:
        if len(array) == 1:
            return pa.nulls(1, kind), np.ones(1, np.bool_)
    middle = len(array) // 2
    left, left_bad = _converted(array[:middle], kind)
    right, right_bad = _converted(array[middle:], kind)
    return pa.concat_arrays([left, right]), np.concatenate([left_bad, right_bad])
