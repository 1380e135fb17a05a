"""JSON records of the usual shape to a `Batch` in one pass, for batches of any size.

A *regular* record is one object on one line whose fields hold plain text, numbers, true, false or
null, all of them values that the event allows. Most records are. What is not (nested or escaped, of
another type, out of range, a field missing or given twice) is left to `streams.jsonl` and
`streams.columns`, which read it or say what is wrong with it. Both ways give the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from streams.batch import EVENT, UNKNOWN, Batch
from streams.columns import LONGEST_TEXT, RECENT_SECONDS, TOLERANCE
from streams.ident import write_idents
from streams.jit import borrow, copy_bytes, kernel
from streams.jsonl import VERSION
from streams.payloads import Payloads
from streams.schema import EARLIEST, LATEST, MISSING, SECOND, Event, Number, duration_us
from streams.timestamps import parse_next
from streams.tokens import (
    DECIMAL,
    FALSE,
    INTEGER,
    MOST_DIGITS,
    NOTHING,
    NULL,
    STRING,
    TRUE,
    past_space,
    token,
)
from streams.words import WORD, same

Int64s = npt.NDArray[np.int64]

_TEXT, _TIME, _NUMBER, _LABEL, _VERSION, _OTHER = range(6)
_START, _STOP, _USE, _PLACE, _NEEDED = range(5)
_SPLIT, _AHEAD, _VERSIONS, _MOST_BYTES, _EVENT_NEEDS, _LABEL_NEEDS = range(6)
_COMMA, _COLON, _OPEN, _CLOSE = b",:{}"
_MOST_FIELDS = 60
_MOST_OTHERS = 64
_LARGEST_MANTISSA = 2**53
_POWERS = np.array([float(10**power) for power in range(MOST_DIGITS + 2)])
_LARGE_STRING = pa.large_string()
_EACH_ITS_OWN = np.empty(0, np.int64)


class RegularLines:
    """Reads the lines of one topic or file; see `streams.codec.Decoder` for the parameters.

    >>> from streams.schema import Label
    >>> lines = RegularLines(Event("click", keys=("user",), label=Label("bought")), {})
    >>> records = [b'{"id":1,"time":7,"user":"a"}', b"{"]
    >>> found = lines.read(records, np.zeros(2, np.uint8), None)
    >>> found[0].idents[:, 0].tolist(), found[1].tolist()
    ([[0, 1]], [0])
    """

    def __init__(self, event: Event, names: Mapping[str, str]) -> None:
        needs, uses = _uses(event, carries_label=event.label.name in names)
        keys = [
            _literal(name if use[0] == _VERSION else names.get(name, name))
            for fields in uses
            for name, use in fields.items()
        ]
        ends = np.cumsum([0, *map(len, keys)])
        self._columns, self._texts = (
            1 + len(event.keys),
            1 + len(event.keys) + len(event.categories),
        )
        self._keys = np.frombuffer(b"".join([*keys, bytes(WORD)]), np.uint8)
        rows = [use for fields in uses for use in fields.values()]
        self._fields = np.column_stack([ends[:-1], ends[1:], rows]).astype(np.int64)
        ahead = duration_us(event.max_ahead)
        self._rules = np.array([len(uses[0]), ahead, event.version, event.max_bytes, *needs])
        self._limits = np.array([_limits(each) for each in event.numbers]).reshape(-1, 3)
        self._readable = len(uses[0]) <= _MOST_FIELDS

    def read(
        self,
        records: Sequence[bytes | None],
        kinds: npt.NDArray[np.uint8],
        received: Int64s | None,
    ) -> tuple[Batch, Int64s] | None:
        """The regular records in order, and which they are; None if none can be told.

        `kinds` says of each whether it should be an EVENT or a LABEL. Partition and offset
        are 0.
        """
        lines = Payloads.of(records).lines()
        n, columns = len(lines), self._columns
        if not n or not self._readable:
            return None
        size = lines.utf8_size()
        if size is None:
            return None
        label, places, time = np.empty(n, np.int8), np.empty(n, np.int64), np.empty(n, np.int64)
        idents = np.empty((n, columns, 2), np.int64)
        numbers = np.empty((n, len(self._limits)), np.int64)
        categories = np.empty((n, self._texts - columns), np.int64)
        bounds = np.empty(n * self._texts + 1, np.int64)
        data = np.empty(size + WORD, np.uint8)
        m = _read(
            lines.text,
            lines.starts,
            lines.stops,
            kinds,
            _EACH_ITS_OWN if received is None else received,
            self._keys,
            self._fields,
            self._rules,
            self._limits,
            places,
            time,
            idents,
            numbers,
            categories,
            label,
            bounds,
            data,
        )
        if m < n:
            places, time, idents, label = places[:m], time[:m], idents[:m], label[:m]
            numbers, categories, kinds = numbers[:m], categories[:m], kinds[places]
            received = None if received is None else received[places]
        buffers = [None, pa.py_buffer(bounds), pa.py_buffer(data)]
        return Batch(
            kind=kinds,
            time=time,
            idents=idents,
            numbers=numbers,
            categories=categories,
            label=label,
            received=time.copy() if received is None else received,
            partition=np.zeros(m, np.int32),
            offset=np.zeros(m, np.int64),
            texts=tuple(
                [
                    pa.Array.from_buffers(_LARGE_STRING, m, buffers, 0, place * m)
                    for place in range(columns)
                ]
            ),
        ), places


def _uses(
    event: Event, *, carries_label: bool
) -> tuple[tuple[int, int], list[dict[str, tuple[int, int, int]]]]:
    """Of events and of labels: which fields are needed, a bit each; each one's use, place, need."""
    id_, time = {event.id: (_TEXT, 0, 1)}, {event.time: (_TIME, 0, 1)}
    version = {VERSION: (_VERSION, 0, 0)}
    texts = [
        *((name, True) for name in event.keys),
        *((c.name, c.required) for c in event.categories),
    ]
    uses = [
        id_
        | time
        | {name: (_TEXT, 1 + at, int(needed)) for at, (name, needed) in enumerate(texts)}
        | {each.name: (_NUMBER, at, int(each.required)) for at, each in enumerate(event.numbers)}
        | ({event.label.name: (_LABEL, 0, 0)} if carries_label else {})
        | version,
        id_ | time | {event.label.name: (_LABEL, 0, 1)} | version,
    ]
    event_needs, label_needs = (
        sum(needed << at for at, (_, _, needed) in enumerate(fields.values())) for fields in uses
    )
    return (event_needs, label_needs), uses


def _literal(name: str) -> bytes:
    """What a plain name begins a field with; nothing for one that no regular record can have."""
    quoted = orjson.dumps(name)
    return quoted + b":" if quoted == b'"%s"' % name.encode() else b""


def _limits(number: Number) -> tuple[float, float, float]:
    """Units in one, and the least and the most units."""
    unit = 10.0**number.scale
    return unit, round(number.minimum * unit), round(number.maximum * unit)


_BYTES = "Array(uint8, 1, 'C', readonly=True)"
_LONGS = "Array(int64, 1, 'C', readonly=True)"
_LONG_ROWS = "Array(int64, 2, 'C', readonly=True)"
_BOUNDS = "Array(int64, 1, 'A', readonly=True)"


@kernel()
def _field_of(text, start, stop, keys, fields, first, last, likely):  # type: ignore[no-untyped-def]
    """Which field has this key, the likely one asked first; -1: none."""
    for step in range(last - first):
        field = likely + step
        if field >= last:
            field -= last - first
        begin, end = fields[field, _START] + 1, fields[field, _STOP] - 2
        if end - begin == stop - start:
            same = True
            for j in range(end - begin):
                if keys[begin + j] != text[start + j]:
                    same = False
                    break
            if same:
                return field
    return -1


@kernel()
def _time(text, what, start, stop, mantissa, day):  # type: ignore[no-untyped-def]
    """Microseconds UTC, or -1 of what is none for sure."""
    if what == STRING:
        time = parse_next(text, start, stop, day)
    elif what == INTEGER:
        time = mantissa
        for per_second in (1, 1000):  # another unit, by its looks
            if RECENT_SECONDS * per_second <= time < LATEST // SECOND * per_second:
                return -1
    else:
        return -1
    return time if EARLIEST <= time < LATEST else -1


@kernel()
def _units(what, mantissa, decimals, limits, place):  # type: ignore[no-untyped-def]
    """The number in its units as `streams.columns.check_numbers` makes it, or MISSING: irregular.

    A mantissa below 2**53 over a power of ten is the double nearest to what was written.
    """
    if what not in (INTEGER, DECIMAL) or abs(mantissa) > _LARGEST_MANTISSA:
        return MISSING
    scaled = np.float64(mantissa) / _POWERS[decimals] * limits[place, 0]
    units = np.rint(scaled)
    within = limits[place, 1] <= units <= limits[place, 2]
    exact = abs(scaled - units) <= TOLERANCE + abs(scaled) * 2.0**-51
    return np.int64(units) if within and exact else MISSING


@kernel()
def _record(  # type: ignore[no-untyped-def]
    text, at, first, last, received, version, keys, fields, limits, hashes, day, out, time,
    numbers, label, spans,
):  # fmt: skip
    """Write the record that begins here to row `out`; returns where it ends and which fields it
    has, a bit each, or where it ceases to be regular and 0.
    """
    seen, others, likely = 0, 0, first
    at = past_space(text, at)
    if text[at] != _OPEN:
        return at, 0
    while True:
        at += 1
        begin = fields[likely, _START]
        length = fields[likely, _STOP] - begin
        if length and at + length + WORD <= len(text) and same(text, at, keys, begin, length):
            field, start, stop = likely, at, at
            at += length - 1
        else:
            at = past_space(text, at)
            start = at + 1
            what, at, mantissa, decimals = token(text, at)
            if what != STRING:
                return at, 0
            stop = at - 1
            at = past_space(text, at)
            if text[at] != _COLON:
                return at, 0
            field = _field_of(text, start, stop, keys, fields, first, last, likely)
        use, place = _OTHER, 0
        if field >= 0:
            bit = 1 << (field - first)
            if seen & bit:
                return at, 0
            seen |= bit
            likely = field + 1 if field + 1 < last else first
            use, place = fields[field, _USE], fields[field, _PLACE]
        else:
            key = np.uint64(14695981039346656037)
            for j in range(start, stop):
                key = (key ^ np.uint64(text[j])) * np.uint64(1099511628211)
            for j in range(others):
                if hashes[j] == key:
                    return at, 0
            if others == len(hashes):
                return at, 0
            hashes[others] = key
            others += 1

        at = past_space(text, at + 1)
        start = at
        what, at, mantissa, decimals = token(text, at)
        stop = at
        if what == STRING:
            start += 1
            stop -= 1
        if what == NULL and use != _OTHER:
            if fields[field, _NEEDED]:
                return at, 0
        elif what == NOTHING:
            return at, 0
        elif use == _TEXT:
            plain = what == STRING or (what == INTEGER and mantissa >= 0)
            if not plain or not 0 < stop - start <= LONGEST_TEXT:
                return at, 0
            spans[place, out, 0], spans[place, out, 1] = start, stop
        elif use == _TIME:
            time[out] = _time(text, what, start, stop, mantissa, day)
            if time[out] < 0 or time[out] > received:
                return at, 0
        elif use == _NUMBER:
            numbers[out, place] = _units(what, mantissa, decimals, limits, place)
            if numbers[out, place] == MISSING:
                return at, 0
        elif use == _LABEL:
            label[out] = 1 if what == TRUE or (what == INTEGER and mantissa == 1) else 0
            if what not in (TRUE, FALSE) and (what != INTEGER or not 0 <= mantissa <= 1):
                return at, 0
        elif use == _VERSION and (what != INTEGER or mantissa != version):
            return at, 0

        at = past_space(text, at)
        if text[at] == _CLOSE:
            return past_space(text, at + 1), seen
        if text[at] != _COMMA:
            return at, 0


@kernel()
def _write_texts(text, spans, m, idents, categories, label_rows, bounds, data):  # type: ignore[no-untyped-def]
    """Lay m rows' texts out column after column, and write the idents of those that have any."""
    end, columns = 0, idents.shape[1]
    for column in range(len(spans)):
        for row in range(m):
            bounds[column * m + row] = end
            count = spans[column, row, 1] - spans[column, row, 0]
            copy_bytes(data, end, text, spans[column, row, 0], count)
            end += count
    bounds[len(spans) * m] = end
    found = np.empty((len(spans) * m, 2), np.int64)
    write_idents(bounds[: len(found) + 1], data, found)
    for column in range(len(spans)):
        for row in range(m):
            given = spans[column, row, 1] > 0
            place = column * m + row
            if column < columns:
                idents[row, column, 0] = found[place, 0] if given else 0
                idents[row, column, 1] = found[place, 1] if given else 0
            else:
                none = 0 if label_rows[row] else MISSING
                categories[row, column - columns] = found[place, 1] if given else none


@kernel(
    f"int64({_BYTES}, {_BOUNDS}, {_BOUNDS}, {_BYTES}, {_LONGS}, {_BYTES}, {_LONG_ROWS}, {_LONGS},"
    " Array(float64, 2, 'C', readonly=True), int64[::1], int64[::1], int64[:, :, ::1],"
    " int64[:, ::1], int64[:, ::1], int8[::1], int64[::1], uint8[::1])"
)
def _read(  # type: ignore[no-untyped-def]
    text, starts, stops, kinds, received, keys, fields, rules, limits, places, time, idents,
    numbers, categories, label, bounds, data,
):  # fmt: skip
    """Write the regular lines, one row each, and which they are; returns how many there are."""
    text, keys, fields, limits = borrow(text), borrow(keys), borrow(fields), borrow(limits)
    time, numbers, label = borrow(time), borrow(numbers), borrow(label)
    texts = idents.shape[1] + categories.shape[1]
    spans = np.empty((texts, len(kinds), 2), np.int64)
    label_rows = np.empty(len(kinds), np.bool_)
    hashes, day = np.empty(_MOST_OTHERS, np.uint64), np.zeros(3, np.uint64)
    out = 0
    for row in range(len(kinds)):
        is_label = kinds[row] != EVENT
        first, last = (rules[_SPLIT], len(fields)) if is_label else (0, rules[_SPLIT])
        label_rows[out], label[out] = is_label, UNKNOWN
        for place in range(numbers.shape[1]):
            numbers[out, place] = 0 if is_label else MISSING
        for place in range(texts):
            spans[place, out, 0] = spans[place, out, 1] = 0
        latest = received[row] + rules[_AHEAD] if len(received) else LATEST
        at, seen = _record(
            text, starts[row], first, last, latest, rules[_VERSIONS], keys, fields, limits,
            borrow(hashes), borrow(day), out, time, numbers, label, borrow(spans),
        )  # fmt: skip
        needed = rules[_LABEL_NEEDS if is_label else _EVENT_NEEDS]
        short = stops[row] - starts[row] <= rules[_MOST_BYTES]
        if seen & needed == needed and at == stops[row] and short:
            places[out] = row
            out += 1
    _write_texts(text, spans, out, idents, categories, label_rows, bounds, data)
    return out
