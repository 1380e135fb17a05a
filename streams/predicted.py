"""Lines of predictions to columns: all in one pass, without an object for each.

A line is *regular* where it is as `encode_predictions` writes it, for the inputs that are asked
for, and its id needs no escapes. Most are. The others are decoded one by one; both ways give the
same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import msgspec
import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from streams.decimals import read_float, read_integer
from streams.errors import InputError
from streams.ident import idents, write_idents
from streams.jit import borrow, copy_bytes, kernel, word_at
from streams.payloads import Payloads
from streams.predictions import LITERALS
from streams.records import Prediction
from streams.tokens import past_plain
from streams.words import WORD
from streams.written import BYTES

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_decoder = msgspec.json.Decoder(Prediction)
_TIME, _VERSION, _NUMBER, _OWN = range(4)
"""Columns of `longs`; the last: whether it was made of the inputs asked for, or says of none."""
_NUMBERS_BEFORE = 3
"""Columns of `doubles` before the features: the score and its interval."""
_QUOTE, _COMMA, _OPEN, _CLOSE, _END = b'",[]}'
_BOUNDS = "Array(int64, 1, 'A', readonly=True)"


@dataclass(frozen=True, slots=True)
class Predicted:
    """n predictions as columns."""

    ident: Int64s
    """(n,) the low words of their ids."""
    time: Int64s
    score: Floats
    model_version: Int64s
    number: Int64s
    own: npt.NDArray[np.bool_]
    """(n,) whether they were made of the inputs asked for; the features of others are NaN."""
    features: Floats
    """(n, features)."""


def decode_predictions(values: Payloads, features: int, where: str, inputs: str = "") -> Predicted:
    """What the values of a topic say; with no `inputs` all of them are asked for.

    Raises InputError for what `encode_predictions` never wrote: nobody else writes to
    this topic.
    """
    lines = values.lines()
    n = len(lines)
    longs, doubles = np.empty((n, 4), np.int64), np.empty((n, _NUMBERS_BEFORE + features))
    ident, regular = np.empty((n, 2), np.int64), np.empty(n, np.bool_)
    literals, ends = _literals(inputs)
    _read(
        lines.text, lines.starts, lines.stops, literals, ends, longs, doubles,
        doubles.view(np.uint64), ident, regular,
    )  # fmt: skip
    for row in np.flatnonzero(~regular).tolist():
        record = _decoded(values[row], features, where, inputs)
        own = not inputs or record.inputs in {"", inputs}
        longs[row] = record.time, record.model_version, record.number, own
        doubles[row, 0] = record.score
        doubles[row, _NUMBERS_BEFORE:] = record.features if own else np.nan
        ident[row] = idents(pa.array([record.id], pa.large_string()))[0]
    return Predicted(
        ident=ident[:, 1],
        time=longs[:, _TIME],
        score=doubles[:, 0],
        model_version=longs[:, _VERSION],
        number=longs[:, _NUMBER],
        own=longs[:, _OWN].astype(np.bool_),
        features=doubles[:, _NUMBERS_BEFORE:],
    )


def _decoded(line: bytes | None, features: int, where: str, inputs: str) -> Prediction:
    try:
        record = _decoder.decode(line or b"")
    except msgspec.MsgspecError as error:
        raise InputError(
            f"{where}: wanted predictions, got a record that is none ({error}); only the score job "
            "may write there"
        ) from error
    if len(record.features) != features and (not inputs or record.inputs in {"", inputs}):
        raise InputError(
            f"{where}: wanted predictions of {features} features, got others; run the learner with "
            "the score job's pipeline file"
        )
    return record


@lru_cache(maxsize=8)
def _literals(inputs: str) -> tuple[npt.NDArray[np.uint8], Int64s]:
    """The fields' literals and then the inputs as JSON in one text, and where each begins."""
    parts = [*(each.tobytes() for each in LITERALS), orjson.dumps(inputs)]
    return np.frombuffer(b"".join(parts), np.uint8), np.cumsum([0, *map(len, parts)])


@kernel()
def _past(text, at, literals, start, stop):  # type: ignore[no-untyped-def]
    """Where this literal ends, if it is what follows; -1: it is not."""
    while start + WORD <= stop and at + WORD <= len(text):
        if word_at(text, at) != word_at(literals, start):
            return -1
        at, start = at + WORD, start + WORD
    while start < stop:
        if text[at] != literals[start]:
            return -1
        at, start = at + 1, start + 1
    return at


@kernel()
def _past_string(text, at):  # type: ignore[no-untyped-def]
    """Where the plain string that begins here ends; -1: there is none."""
    if text[at] != _QUOTE:
        return -1
    at = past_plain(text, at + 1)
    return at + 1 if text[at] == _QUOTE else -1


@kernel()
def _past_strings(text, at):  # type: ignore[no-untyped-def]
    """Where plain strings with commas between them end; -1: it is something else."""
    while text[at] == _QUOTE:
        at = _past_string(text, at)
        if at < 0:
            return -1
        if text[at] != _COMMA:
            return at
        at += 1
    return at


@kernel()
def _past_floats(text, at, stop, doubles, bits, first, last):  # type: ignore[no-untyped-def]
    """Write an array of so many numbers and nulls; where it ends, -1: it is something else."""
    if text[at] != _OPEN:
        return -1
    for place in range(first, last):
        at = read_float(text, at + 1, stop, doubles, bits, place)
        if at < 0 or (text[at] != _COMMA and place + 1 < last):
            return -1
    return at + 1 if text[at] == _CLOSE else -1


@kernel()
def _line(text, at, stop, literals, ends, longs, doubles, bits):  # type: ignore[no-untyped-def]
    """Write a line's fields; returns where its id begins and ends, or -1 where it is irregular."""
    at = _past(text, at, literals, ends[0], ends[1])
    if at < 0:
        return -1, -1
    first, last = at + 1, _past_string(text, at) - 1
    if last < first:
        return -1, -1
    at = _past(text, last + 1, literals, ends[1], ends[2])
    if at < 0:
        return -1, -1
    longs[_TIME], at = read_integer(text, at, stop)
    at = -1 if at < 0 else _past(text, at, literals, ends[2], ends[3])
    at = -1 if at < 0 else read_float(text, at, stop, doubles, bits, 0)
    at = -1 if at < 0 else _past(text, at, literals, ends[3], ends[4])
    at = -1 if at < 0 else _past_string(text, at)
    at = -1 if at < 0 else _past(text, at, literals, ends[4], ends[5])
    at = -1 if at < 0 else _past_strings(text, at)
    at = -1 if at < 0 else _past(text, at, literals, ends[5], ends[6])
    if at < 0:
        return -1, -1
    longs[_VERSION], at = read_integer(text, at, stop)
    at = -1 if at < 0 else _past(text, at, literals, ends[6], ends[7])
    width = len(doubles)
    at = -1 if at < 0 else _past_floats(text, at, stop, doubles, bits, _NUMBERS_BEFORE, width)
    at = -1 if at < 0 else _past(text, at, literals, ends[7], ends[8])
    if at < 0:
        return -1, -1
    longs[_NUMBER], at = read_integer(text, at, stop)
    at = -1 if at < 0 else _past(text, at, literals, ends[8], ends[9])
    at = -1 if at < 0 else _past(text, at, literals, ends[10], ends[11])
    at = -1 if at < 0 else _past(text, at, literals, ends[9], ends[10])
    at = -1 if at < 0 else _past_floats(text, at, stop, doubles, bits, 1, _NUMBERS_BEFORE)
    if at < 0 or at + 1 != stop or text[at] != _END:
        return -1, -1
    longs[_OWN] = 1
    return first, last


@kernel(
    f"void({BYTES}, {_BOUNDS}, {_BOUNDS}, {BYTES}, Array(int64, 1, 'C', readonly=True),"
    " int64[:, ::1], float64[:, ::1], uint64[:, ::1], int64[:, ::1], boolean[::1])"
)
def _read(  # type: ignore[no-untyped-def]
    text, starts, stops, literals, ends, longs, doubles, bits, ident, regular
):
    """Write the lines' fields, and of each whether it is regular: of others nothing is sound."""
    text, literals = borrow(text), borrow(literals)
    n = len(starts)
    spans, bounds = np.empty((n, 2), np.int64), np.empty(n + 1, np.int64)
    size = 0
    for i in range(n):
        spans[i, 0], spans[i, 1] = _line(
            text, starts[i], stops[i], literals, ends, longs[i], doubles[i], bits[i]
        )
        regular[i] = spans[i, 0] >= 0
        bounds[i] = size
        size += spans[i, 1] - spans[i, 0]
    bounds[n] = size
    data = np.empty(size + WORD, np.uint8)
    for i in range(n):
        copy_bytes(data, bounds[i], text, max(spans[i, 0], 0), spans[i, 1] - spans[i, 0])
    write_idents(bounds, data, ident)
