"""What librdkafka holds of many records, to columns and back, by kernels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.jit import borrow, copy_bytes, foreign, kernel, lent
from streams.kafka.librdkafka import (
    ERROR,
    KEY,
    KEY_SIZE,
    MESSAGE_WORDS,
    OFFSET,
    OPAQUE,
    PARTITION,
    TOPIC,
    VALUE,
    VALUE_SIZE,
)
from streams.payloads import Payloads

Int64s = npt.NDArray[np.int64]
FIELDS = 7
WHY, WHICH_TOPIC, WHICH_PARTITION, WHERE, WHEN, WITH, WHOSE = range(FIELDS)
"""Error, topic, partition, offset, stamp (us), headers and the sender's word of a message."""
_LOW = 32
_NEWLINE = 10
_words = lent("int64[::1]")
_text = lent("uint8[::1]")
_TABLE = "int64[:, ::1]"
_BYTES = "Array(uint8, 1, 'C', readonly=True)"
_BOUNDS = "Array(int64, 1, 'A', readonly=True)"
_NOTHING = Payloads.of([])


@kernel(f"UniTuple(int64, 2)(int64[::1], int64, int64, {_TABLE}, {_TABLE}, {_TABLE})")
def describe(pointers, timestamp, headers, fields, values, keys):  # type: ignore[no-untyped-def]
    """Write what the messages at these addresses hold and where, `fields` as (FIELDS, n).

    Returns how many bytes of keys and values there are, and whether all are records of one
    partition, without headers. `timestamp` and `headers` are the library's functions that know; 0:
    nobody asks for either.
    """
    size, plain, out = 0, 1, np.zeros(1, np.int64)
    places = np.empty((len(pointers), 3), np.int64)
    for i in range(len(pointers)):
        places[i, 0], places[i, 1], places[i, 2] = pointers[i], MESSAGE_WORDS, 1
        words = _words(places, i)
        fields[WHY, i] = (words[ERROR] << _LOW) >> _LOW
        fields[WHICH_TOPIC, i] = words[TOPIC]
        fields[WHICH_PARTITION, i] = (words[PARTITION] << _LOW) >> _LOW
        fields[WHERE, i] = words[OFFSET]
        fields[WHEN, i], fields[WITH, i] = -1000, 0
        fields[WHOSE, i] = words[OPAQUE]
        values[i, 0], values[i, 1], values[i, 2] = words[VALUE], words[VALUE_SIZE], 1
        keys[i, 0], keys[i, 1], keys[i, 2] = words[KEY], words[KEY_SIZE], 1
        size += words[VALUE_SIZE] + words[KEY_SIZE]
        if timestamp and not fields[WHY, i]:
            fields[WHEN, i] = foreign(timestamp, pointers[i], 0) * 1000
            none = foreign(headers, pointers[i], out.ctypes.data)
            if not (none << _LOW):
                fields[WITH, i] = out[0]
        same_topic = fields[WHICH_TOPIC, i] == fields[WHICH_TOPIC, 0]
        same_place = same_topic and fields[WHICH_PARTITION, i] == fields[WHICH_PARTITION, 0]
        if fields[WHY, i] or fields[WITH, i] or not same_place:
            plain = 0
    return size, plain


@kernel()
def _gather(texts, out, at, starts, stops):  # type: ignore[no-untyped-def]
    """Copy each text that there is, and a newline after it; returns where the last ends."""
    for i in range(len(texts)):
        starts[i], stops[i] = at, at - 1
        if texts[i, 0]:
            copy_bytes(out, at, _text(texts, i), 0, texts[i, 1])
            at += texts[i, 1]
            stops[i] = at
        out[at] = _NEWLINE
        at += 1
    return at


@kernel(f"UniTuple(int64, 2)({_TABLE}, {_TABLE}, uint8[::1], {_TABLE})")
def _gather_both(values, keys, out, bounds):  # type: ignore[no-untyped-def]
    """Copy values, then keys; returns where the values end, and whether none is missing."""
    out, every = borrow(out), 1
    end = _gather(values, out, 0, bounds[0], bounds[1])
    _gather(keys, out, end, bounds[2], bounds[3])
    for i in range(len(values)):
        if not values[i, 0]:
            every = 0
    return end, every


@kernel("void(int64[::1], int64)")
def let_go(pointers, destroy):  # type: ignore[no-untyped-def]
    """Give the messages at these addresses back to the library."""
    for i in range(len(pointers)):
        foreign(destroy, pointers[i], 0)


def gathered(values: Int64s, keys: Int64s, size: int) -> tuple[Payloads, Payloads]:
    """Copies of what `describe` found, of `size` bytes together."""
    n = len(values)
    out, bounds = np.empty(size + 2 * n, np.uint8), np.empty((4, n), np.int64)
    end, lined = _gather_both(values, keys, out, bounds)
    starts, stops, key_starts, key_stops = bounds
    return Payloads(out[:end], starts, stops, bool(lined)), Payloads(out, key_starts, key_stops)


@kernel()
def _put(text, starts, stops, place, out):  # type: ignore[no-untyped-def]
    """Say where the texts lie and how long they are; of one that is none, nothing."""
    base = text.ctypes.data
    for i in range(len(starts)):
        length = stops[i] - starts[i]
        if length >= 0:
            out[i, place], out[i, place + 1] = base + starts[i], length


@kernel(f"void({_BYTES}, {_BOUNDS}, {_BOUNDS}, {_BYTES}, {_BOUNDS}, {_BOUNDS}, int64, {_TABLE})")
def _write(text, starts, stops, key_text, key_starts, key_stops, opaque, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        for place in range(MESSAGE_WORDS):
            out[i, place] = 0
        out[i, OPAQUE] = opaque
    _put(text, starts, stops, VALUE, out)
    _put(key_text, key_starts, key_stops, KEY, out)


def as_messages(values: Payloads, keys: Payloads | None, opaque: int, out: Int64s) -> Int64s:
    """Rows of `out` as messages to be sent; they are good while values and keys are."""
    table, named = out[: len(values)], keys or _NOTHING
    bounds = values.text, values.starts, values.stops
    _write(*bounds, named.text, named.starts, named.stops, opaque, table)
    return table
