"""Text written by kernels into a buffer that has room for it; each returns where it ends."""

from __future__ import annotations

import numpy as np

from streams.jit import copy_bytes, kernel, word_at
from streams.words import WORD, plain

LONGEST_INTEGER = 20
LONGEST_BYTE = 6
"""Of a JSON string, what one byte may become."""

BYTES = "Array(uint8, 1, 'C', readonly=True)"
_QUOTE, _BACKSLASH, _ZERO, _MINUS, _U = b'"\\0-u'
_HUNDRED = np.uint64(100)
_TENS = np.array([10**power for power in range(19)], np.uint64)
_PAIRS = np.frombuffer(b"".join(b"%02d" % pair for pair in range(100)), np.uint8)
_SHORT = np.zeros(32, np.uint8)
_SHORT[list(b"\b\t\n\f\r")] = list(b"btnfr")
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


@kernel(f"int64(uint8[::1], int64, {BYTES}, int64, int64)")
def write_bytes(out, at, text, start, stop):  # type: ignore[no-untyped-def]
    """Write text[start:stop] as it is."""
    copy_bytes(out, at, text, start, stop - start)
    return at + stop - start


@kernel("int64(uint8[::1], int64, int64, int64)")
def write_digits(out, at, number, width):  # type: ignore[no-untyped-def]
    """Write a number from 0 on in at least `width` digits."""
    left, length = np.uint64(number), 1
    while length < len(_TENS) and _TENS[length] <= left:
        length += 1
    end = at + max(length, width)
    place = end
    while place - at > 1:
        pair, left = np.int64(left % _HUNDRED), left // _HUNDRED
        place -= 2
        out[place], out[place + 1] = _PAIRS[2 * pair], _PAIRS[2 * pair + 1]
    if place > at:
        out[at] = _ZERO + np.int64(left)
    return end


@kernel("int64(uint8[::1], int64, int64)")
def write_integer(out, at, number):  # type: ignore[no-untyped-def]
    """Write an integer above -2**63."""
    if number < 0:
        out[at] = _MINUS
        return write_digits(out, at + 1, -number, 1)
    return write_digits(out, at, number, 1)


@kernel(f"int64(uint8[::1], int64, {BYTES}, int64, int64)")
def write_string(out, at, text, start, stop):  # type: ignore[no-untyped-def]
    """Write text[start:stop], UTF-8, as a JSON string."""
    out[at] = _QUOTE
    at += 1
    first = start
    while start + WORD <= stop and plain(word_at(text, start)) == WORD:
        start += WORD
    copy_bytes(out, at, text, first, start - first)
    at += start - first
    for i in range(start, stop):
        byte = text[i]
        if byte >= len(_SHORT) and byte not in (_QUOTE, _BACKSLASH):
            out[at] = byte
            at += 1
            continue
        out[at] = _BACKSLASH
        if byte >= len(_SHORT):
            out[at + 1] = byte
        elif _SHORT[byte]:
            out[at + 1] = _SHORT[byte]
        else:
            out[at + 1], out[at + 2], out[at + 3] = _U, _ZERO, _ZERO
            out[at + 4], out[at + 5] = _HEX[byte >> 4], _HEX[byte & 15]
            at += 4
        at += 2
    out[at] = _QUOTE
    return at + 1
