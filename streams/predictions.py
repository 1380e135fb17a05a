"""Predictions to lines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from streams.jit import borrow, kernel, word_at
from streams.payloads import Payloads
from streams.texts import bytes_of
from streams.words import WORD, first_of
from streams.written import (
    BYTES,
    LONGEST_BYTE,
    LONGEST_INTEGER,
    write_bytes,
    write_integer,
    write_string,
)

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
DECISIONS = ("approve", "review")
AT_ONCE = 512
"""Rows: what is written of them stays near the processor."""
LONGEST_FLOAT = len("-2.2250738585072014e-308,")
NUMPY = orjson.OPT_SERIALIZE_NUMPY


def encode_predictions(
    ids: pa.Array,
    time: Int64s,
    score: Floats,
    interval: Floats,
    review: npt.NDArray[np.bool_],
    reasons: npt.NDArray[np.int16],
    names: Sequence[str],
    model_version: Int64s,
    features: Floats,
    number: Int64s,
    inputs: str = "",
) -> Payloads:
    """One JSON line per prediction, in the field order of `streams.records.Prediction`.

    `ids` are n texts, `interval` is (n, 2). `reasons` is (n, k), places in `names` and -1 for none.
    `features` is (n, F), F names published once per pipeline, `inputs` says of which; NaN and
    infinities become null.
    Equal predictions give equal bytes: shortest round-trip floats, no spaces.

    >>> one = np.ones(1)
    >>> encode_predictions(pa.array(["a"], pa.large_string()), np.array([7]), one,
    ...                    np.array([[0.9, 1.0]]), one > 0, np.array([[0, -1]], np.int16),
    ...                    ["amount"], np.array([0]), np.array([[0.1, np.nan]]),
    ...                    np.array([5]), "f00d")[0].decode()
    '{"id":"a","time":7,"score":1.0,"decision":"review","reasons":["amount"],"model_version":0,"features":[0.1,null],"number":5,"inputs":"f00d","interval":[0.9,1.0]}'
    """
    letters, ends, longest = _words((*names, inputs))
    bounds, text = bytes_of(ids)
    n = len(time)
    # What the two arrays of numbers take is known when they are written; to each its share at most.
    each_row = _FIXED + LONGEST_INTEGER * 3 + longest * (2 + reasons.shape[1])
    each_row += LONGEST_FLOAT * (3 + features.shape[1])
    out = np.empty(n * each_row + LONGEST_BYTE * int(bounds[n] - bounds[0]), np.uint8)
    lines, end = np.empty(n + 1, np.int64), 0
    for start in range(0, n, AT_ONCE):
        stop = min(start + AT_ONCE, n)
        scores, rows, bounds_of = (
            orjson.dumps(np.ascontiguousarray(each[start:stop], np.float64), option=NUMPY)
            for each in (score, features, interval)
        )
        end = _write(
            bounds[start : stop + 1],
            text,
            time[start:stop],
            np.frombuffer(scores, np.uint8),
            review[start:stop],
            reasons[start:stop],
            letters,
            ends,
            model_version[start:stop],
            np.frombuffer(rows, np.uint8),
            np.frombuffer(bounds_of, np.uint8),
            number[start:stop],
            out,
            end,
            lines[start : stop + 1],
        )
    return Payloads(out, lines[:-1], lines[1:] - 1)


@lru_cache(maxsize=8)
def _words(names: tuple[str, ...]) -> tuple[npt.NDArray[np.uint8], Int64s, int]:
    """The decisions and these texts as JSON strings, where each begins, room for the longest."""
    words = [orjson.dumps(each) for each in (*DECISIONS, *names)]
    letters = np.frombuffer(b"".join(words), np.uint8)
    return letters, np.cumsum([0, *map(len, words)]), max(map(len, words)) + 1


def _literal(text: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(text, np.uint8)


_ID = _literal(b'{"id":')
_TIME = _literal(b',"time":')
_SCORE = _literal(b',"score":')
_DECISION = _literal(b',"decision":')
_REASONS = _literal(b',"reasons":[')
_VERSION = _literal(b'],"model_version":')
_FEATURES = _literal(b',"features":')
_NUMBER = _literal(b',"number":')
_INPUTS = _literal(b',"inputs":')
_INTERVAL = _literal(b',"interval":')
LITERALS = (
    *(_ID, _TIME, _SCORE, _DECISION, _REASONS, _VERSION, _FEATURES, _NUMBER, _INPUTS),
    _INTERVAL,
)
"""What stands before each field, and the reasons' end."""
_FIXED = sum(map(len, LITERALS)) + len(b'""}\n')
_COMMA, _CLOSE, _END, _NEWLINE = b",]}\n"


@kernel(f"int64({BYTES}, int64, int64, int64)")
def past_either(text, at, one, other):  # type: ignore[no-untyped-def]
    """Where the first of either byte is, from `at` on."""
    while at + WORD <= len(text):
        place = first_of(word_at(text, at), one, other)
        at += place
        if place < WORD:
            return at
    while text[at] != one and text[at] != other:
        at += 1
    return at


_LONGS = "Array(int64, 1, 'C', readonly=True)"


@kernel(
    f"int64({_LONGS}, {BYTES}, {_LONGS}, {BYTES}, Array(bool, 1, 'C', readonly=True),"
    f" Array(int16, 2, 'C', readonly=True), {BYTES}, {_LONGS}, {_LONGS}, {BYTES}, {BYTES},"
    f" {_LONGS}, uint8[::1], int64, int64[::1])"
)
def _write(  # type: ignore[no-untyped-def]
    bounds, text, time, scores, review, reasons, words, ends, version, features, intervals, number,
    out, at, lines,
):  # fmt: skip
    """Write a line for each row from `at` on, a line break after it; returns where the last ends.

    `lines` says where each begins, and where another would.

    `scores`, `features` and `intervals` are JSON arrays, of numbers and of arrays of numbers;
    `words` are JSON strings, the two decisions, the names and what says which they are; `ends` is
    where each begins.
    """
    out, text, words = borrow(out), borrow(text), borrow(words)
    scores, features, intervals = borrow(scores), borrow(features), borrow(intervals)
    score, row, interval = 1, 1, 1
    for i in range(len(time)):
        lines[i] = at
        at = write_bytes(out, at, _ID, 0, len(_ID))
        at = write_string(out, at, text, bounds[i], bounds[i + 1])
        at = write_bytes(out, at, _TIME, 0, len(_TIME))
        at = write_integer(out, at, time[i])
        at = write_bytes(out, at, _SCORE, 0, len(_SCORE))
        stop = past_either(scores, score, _COMMA, _CLOSE)
        at = write_bytes(out, at, scores, score, stop)
        score = stop + 1
        at = write_bytes(out, at, _DECISION, 0, len(_DECISION))
        word = np.int64(review[i])
        at = write_bytes(out, at, words, ends[word], ends[word + 1])
        at = write_bytes(out, at, _REASONS, 0, len(_REASONS))
        some = False
        for j in range(reasons.shape[1]):
            if reasons[i, j] >= 0:
                if some:
                    out[at] = _COMMA
                    at += 1
                word = np.int64(reasons[i, j]) + 2
                at = write_bytes(out, at, words, ends[word], ends[word + 1])
                some = True
        at = write_bytes(out, at, _VERSION, 0, len(_VERSION))
        at = write_integer(out, at, version[i])
        at = write_bytes(out, at, _FEATURES, 0, len(_FEATURES))
        stop = past_either(features, row, _CLOSE, _CLOSE) + 1
        at = write_bytes(out, at, features, row, stop)
        row = stop + 1
        at = write_bytes(out, at, _NUMBER, 0, len(_NUMBER))
        at = write_integer(out, at, number[i])
        at = write_bytes(out, at, _INPUTS, 0, len(_INPUTS))
        at = write_bytes(out, at, words, ends[len(ends) - 2], ends[len(ends) - 1])
        at = write_bytes(out, at, _INTERVAL, 0, len(_INTERVAL))
        stop = past_either(intervals, interval, _CLOSE, _CLOSE) + 1
        at = write_bytes(out, at, intervals, interval, stop)
        interval = stop + 1
        out[at], out[at + 1] = _END, _NEWLINE
        at += 2
    lines[len(time)] = at
    return at
