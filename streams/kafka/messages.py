"""What librdkafka holds of many records, to columns and back, by kernels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.jit import copy_bytes, foreign, kernel, lent
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
"""Error, topic, partition, offset, stamp (ms), headers and the sender's word of a message."""
_LOW = 32
_NEWLINE = 10
_words = lent("int64[::1]")
_text = lent("uint8[::1]")


def places_of(pointers: Int64s) -> Int64s:
    """What the kernels take of messages that lie at these addresses."""
    table = np.empty((len(pointers), 3), np.int64)
    table[:, 0], table[:, 1], table[:, 2] = pointers, MESSAGE_WORDS, 1
    return table


@kernel("int64(int64[:, ::1], int64, int64, int64[:, ::1], int64[:, ::1], int64[:, ::1])")
def describe(messages, timestamp, headers, fields, values, keys):  # type: ignore[no-untyped-def]
    """Write what messages hold and where; returns how many bytes of keys and values there are.

    `timestamp` and `headers` are the library's functions that know; 0: nobody asks for either.
    """
    size, out = 0, np.zeros(1, np.int64)
    for i in range(len(messages)):
        words = _words(messages, i)
        fields[i, WHY] = (words[ERROR] << _LOW) >> _LOW
        fields[i, WHICH_TOPIC] = words[TOPIC]
        fields[i, WHICH_PARTITION] = (words[PARTITION] << _LOW) >> _LOW
        fields[i, WHERE] = words[OFFSET]
        fields[i, WHEN], fields[i, WITH] = -1, 0
        fields[i, WHOSE] = words[OPAQUE]
        values[i, 0], values[i, 1], values[i, 2] = words[VALUE], words[VALUE_SIZE], 1
        keys[i, 0], keys[i, 1], keys[i, 2] = words[KEY], words[KEY_SIZE], 1
        size += words[VALUE_SIZE] + words[KEY_SIZE]
        if timestamp and not fields[i, WHY]:
            fields[i, WHEN] = foreign(timestamp, messages[i, 0], 0)
            none = foreign(headers, messages[i, 0], out.ctypes.data)
            if not (none << _LOW):
                fields[i, WITH] = out[0]
    return size


@kernel("int64(int64[:, ::1], uint8[::1], int64, int64[::1], int64[::1])")
def gather(texts, out, at, starts, stops):  # type: ignore[no-untyped-def]
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


@kernel("void(int64[:, ::1], int64)")
def let_go(messages, destroy):  # type: ignore[no-untyped-def]
    """Give messages back to the library."""
    for i in range(len(messages)):
        foreign(destroy, messages[i, 0], 0)


def gathered(values: Int64s, keys: Int64s, size: int) -> tuple[Payloads, Payloads]:
    """Copies of what `describe` found, of `size` bytes together."""
    n = len(values)
    out = np.empty(size + 2 * n, np.uint8)
    starts, stops, key_starts, key_stops = np.empty((4, n), np.int64)
    end = gather(values, out, 0, starts, stops)
    gather(keys, out, end, key_starts, key_stops)
    lined = bool(values[:, 0].all())
    return Payloads(out[:end], starts, stops, lined), Payloads(out, key_starts, key_stops)


def as_messages(values: Payloads, keys: Payloads | None, opaque: int, out: Int64s) -> Int64s:
    """Rows of `out` as messages to be sent; they are good while values and keys are."""
    table = out[: len(values)]
    table[:] = 0
    for texts, place in ((values, VALUE), (keys, KEY)):
        if texts is not None:
            lengths, base = texts.lengths, texts.text.ctypes.data
            table[:, place], table[:, place + 1] = texts.starts + base, lengths
            if len(lengths) and int(lengths.min()) < 0:
                table[lengths < 0, place : place + 2] = 0
    table[:, OPAQUE] = opaque
    return table
