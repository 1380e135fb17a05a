"""Columns of short texts: several at once in one buffer and one pass, and the bytes of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streams.ident import write_idents
from streams.payloads import Payloads

Int64s = npt.NDArray[np.int64]
_TEXT = pa.large_string()


def text_columns(
    columns: Sequence[list[Any]], longest: int
) -> tuple[list[pa.Array], list[Int64s]] | None:
    """Columns of equal length as large_string arrays, and their idents (n, 2).

    None unless every value is a text of 1 to `longest` bytes of UTF-8.

    >>> arrays, idents = text_columns([["7", "x"], ["é", "12"]], 256)
    >>> [array.to_pylist() for array in arrays], idents[1][1].tolist()
    ([['7', 'x'], ['é', '12']], [0, 12])
    """
    flat = [value for column in columns for value in column]
    try:
        text = "".join(flat)
        data = text.encode()
    except (TypeError, UnicodeEncodeError):
        return None
    if len(data) == len(text):
        lengths = np.fromiter(map(len, flat), np.int64, len(flat))
    else:
        lengths = np.fromiter((len(each.encode()) for each in flat), np.int64, len(flat))
    if not flat or lengths.min() < 1 or lengths.max() > longest:
        return None
    bounds = np.zeros(len(flat) + 1, np.int64)
    np.cumsum(lengths, out=bounds[1:])
    idents = np.empty((len(flat), 2), np.int64)
    write_idents(bounds, np.frombuffer(data, np.uint8), idents)
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    n = len(columns[0])
    starts = range(0, len(flat), n)
    return (
        [pa.Array.from_buffers(_TEXT, n, buffers, 0, start) for start in starts],
        [idents[start : start + n] for start in starts],
    )


def bytes_of(column: pa.Array) -> tuple[Int64s, npt.NDArray[np.uint8]]:
    """Of n texts, without nulls, the n + 1 bounds, and the bytes that they are bounds in."""
    _, bounds, text = column.buffers()
    where = np.frombuffer(bounds, np.int64)[column.offset : column.offset + len(column) + 1]
    return where, np.frombuffer(text or b"", np.uint8)


def payloads_of(column: pa.Array) -> Payloads:
    """The texts of a large_string column without nulls as UTF-8, where they are.

    >>> list(payloads_of(pa.array(["7", "", "x9"], pa.large_string())[1:]))
    [b'', b'x9']
    """
    bounds, text = bytes_of(column)
    return Payloads(text, bounds[:-1], bounds[1:])


def column_of(values: Payloads) -> pa.Array:
    """UTF-8 as a large_string column, none as empty.

    >>> column_of(Payloads.of([b"7", None, b"x9"])).to_pylist()
    ['7', '', 'x9']
    """
    bounds, text = values.joined()
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(text)]
    return pa.Array.from_buffers(_TEXT, len(values), buffers, 0)
