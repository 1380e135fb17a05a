"""Examples to lines: predictions with the labels that became known of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import orjson

from streams.jit import borrow, kernel
from streams.payloads import Payloads
from streams.predictions import AT_ONCE, LONGEST_FLOAT, NUMPY, past_either
from streams.written import BYTES, LONGEST_INTEGER, write_bytes, write_integer

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_FIELDS = ("number", "time", "known", "value", "cause", "score", "model_version", "features")
"""In the order of `streams.records.Example`."""
_LITERALS = [f'{"," if at else "{"}"{name}":'.encode() for at, name in enumerate(_FIELDS)]
_TEXT = np.frombuffer(b"".join(_LITERALS), np.uint8)
_ENDS = np.cumsum([0, *map(len, _LITERALS)])
_COMMA, _CLOSE, _END, _NEWLINE = b",]}\n"
_INTEGERS = 5


def encode_examples(
    number: Int64s,
    time: Int64s,
    known: Sequence[int] | Int64s,
    value: Sequence[int] | Int64s,
    cause: Sequence[int] | Int64s,
    score: Floats,
    model_version: Int64s,
    features: Floats,
    causes: Sequence[str],
) -> tuple[Payloads, Payloads]:
    """One JSON line per example, in the field order of `streams.records.Example`; beside them their
    numbers.

    `cause` are places in `causes`. NaN and infinities become null; equal examples give equal
    bytes.

    >>> one = np.ones(1, np.int64)
    >>> lines, numbers = encode_examples(
    ...     one, one, [9], [1], [0], one / 2, one, np.array([[0.1, np.nan]]), ["label"]
    ... )
    >>> numbers[0], lines[0][:29], lines[0][-39:]
    (b'1', b'{"number":1,"time":1,"known":', b'model_version":1,"features":[0.1,null]}')
    """
    words = [orjson.dumps(each) for each in causes]
    letters, ends = np.frombuffer(b"".join(words), np.uint8), np.cumsum([0, *map(len, words)])
    n = len(number)
    each_row = len(_TEXT) + _INTEGERS * LONGEST_INTEGER + max(map(len, words), default=0) + 4
    out = np.empty(n * (each_row + LONGEST_FLOAT * (2 + features.shape[1])), np.uint8)
    lines, stops, end = np.empty(n + 1, np.int64), np.empty(n, np.int64), 0
    whole = np.stack([number, time, known, value, model_version, cause], axis=1)
    for start in range(0, n, AT_ONCE):
        stop = min(start + AT_ONCE, n)
        scores, rows = (
            orjson.dumps(np.ascontiguousarray(each[start:stop], np.float64), option=NUMPY)
            for each in (score, features)
        )
        end = _write(
            whole[start:stop], letters, ends, np.frombuffer(scores, np.uint8),
            np.frombuffer(rows, np.uint8), out, end, lines[start : stop + 1], stops[start:stop],
        )  # fmt: skip
    first = lines[:-1] + _ENDS[1]
    return Payloads(out, lines[:-1], lines[1:] - 1, lined=True), Payloads(out, first, stops)


@kernel(
    "int64(Array(int64, 2, 'C', readonly=True), Array(uint8, 1, 'C', readonly=True),"
    f" Array(int64, 1, 'C', readonly=True), {BYTES}, {BYTES}, uint8[::1], int64, int64[::1],"
    " int64[::1])"
)
def _write(  # type: ignore[no-untyped-def]
    whole, words, ends, scores, features, out, at, lines, stops
):
    """Write a line for each row from `at` on, a line break after it; returns where the last ends.

    `lines` says where each begins, and where another would, `stops` where its number ends.
    """
    out, words, scores, features = borrow(out), borrow(words), borrow(scores), borrow(features)
    score, row = 1, 1
    for i in range(len(whole)):
        lines[i] = at
        for field in range(4):
            at = write_bytes(out, at, _TEXT, _ENDS[field], _ENDS[field + 1])
            at = write_integer(out, at, whole[i, field])
            if field == 0:
                stops[i] = at
        at = write_bytes(out, at, _TEXT, _ENDS[4], _ENDS[5])
        at = write_bytes(out, at, words, ends[whole[i, 5]], ends[whole[i, 5] + 1])
        at = write_bytes(out, at, _TEXT, _ENDS[5], _ENDS[6])
        stop = past_either(scores, score, _COMMA, _CLOSE)
        at = write_bytes(out, at, scores, score, stop)
        score = stop + 1
        at = write_bytes(out, at, _TEXT, _ENDS[6], _ENDS[7])
        at = write_integer(out, at, whole[i, 4])
        at = write_bytes(out, at, _TEXT, _ENDS[7], _ENDS[8])
        stop = past_either(features, row, _CLOSE, _CLOSE) + 1
        at = write_bytes(out, at, features, row, stop)
        row = stop + 1
        out[at], out[at + 1] = _END, _NEWLINE
        at += 2
    lines[len(whole)] = at
    return at
