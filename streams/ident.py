"""Idents: every id and entity key as 128 bits that sort, hash and compare fast.

A canonical decimal below 10**18 (no sign, no leading zero) *is* its number: `(0, number)`. Any
other text is `(hash, hash)`, the 128-bit MurmurHash3 (Appleby, 2011) of its UTF-8 bytes with an odd
high word, so the two kinds never meet. Ties in time are broken by the low word: numbers in numeric
order, other texts in a fixed arbitrary order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streams.jit import kernel, word_at
from streams.words import WORD, digits, number

Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
_LOW = 0x7FFFFFFFFFFFFFFF
_DIGITS = 18
_ZERO = 48
_TENS = np.array([10**power for power in range(WORD + 1)], np.int64)
_TEXT = "Array(uint8, 1, 'C', readonly=True)"
_PLACES = "Array(int64, 1, 'C', readonly=True)"


@kernel("uint64(uint64, uint64)")
def rotate(x: np.uint64, by: np.uint64) -> np.uint64:
    """Rotate 64 bits left."""
    return (x << by) | (x >> (np.uint64(64) - by))


@kernel("uint64(uint64)")
def mix(h: np.uint64) -> np.uint64:
    """Spread every bit of a 64-bit word over all of it (MurmurHash3's finaliser)."""
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xC4CEB9FE1A85EC53)
    h ^= h >> np.uint64(33)
    return h


@kernel(f"void({_TEXT}, int64, int64, int64[::1])")
def _murmur(data: Bytes, start: int, stop: int, out: Int64s) -> None:
    c1 = np.uint64(0x87C37B91114253D5)
    c2 = np.uint64(0x4CF5AD432745937F)
    h1 = np.uint64(0)
    h2 = np.uint64(0)
    i = start
    while i < stop:
        k1 = np.uint64(0)
        k2 = np.uint64(0)
        length = min(16, stop - i)
        for j in range(min(8, length)):
            k1 |= np.uint64(data[i + j]) << np.uint64(8 * j)
        for j in range(8, length):
            k2 |= np.uint64(data[i + j]) << np.uint64(8 * (j - 8))
        if length > 8 or length == 16:
            k2 = rotate(k2 * c2, np.uint64(33)) * c1
            h2 ^= k2
        h1 ^= rotate(k1 * c1, np.uint64(31)) * c2
        if length == 16:
            h1 = (rotate(h1, np.uint64(27)) + h2) * np.uint64(5) + np.uint64(0x52DCE729)
            h2 = (rotate(h2, np.uint64(31)) + h1) * np.uint64(5) + np.uint64(0x38495AB5)
        i += 16
    h1 ^= np.uint64(stop - start)
    h2 ^= np.uint64(stop - start)
    h1 += h2
    h2 += h1
    h1 = mix(h1)
    h2 = mix(h2)
    h1 += h2
    h2 += h1
    out[0] = np.int64((h1 >> np.uint64(1)) | np.uint64(1))
    out[1] = np.int64(h2 >> np.uint64(1))


@kernel(f"int64({_TEXT}, int64, int64)")
def _decimal(data: Bytes, start: int, stop: int) -> int:
    """The number that a text is in canonical decimal below 10**18, or -1."""
    if not 0 < stop - start <= _DIGITS or (data[start] == _ZERO and stop - start > 1):
        return -1
    decimal = np.int64(0)
    while start < stop and start + WORD <= len(data):
        count = min(WORD, stop - start)
        word = word_at(data, start)
        if digits(word) < count:
            return -1
        decimal = decimal * _TENS[count] + number(word, count)
        start += count
    for j in range(start, stop):
        digit = np.int64(data[j]) - _ZERO
        if digit < 0 or digit > 9:
            return -1
        decimal = decimal * 10 + digit
    return int(decimal)


@kernel(f"void({_PLACES}, {_TEXT}, int64[:, ::1])")
def write_idents(offsets: Int64s, data: Bytes, out: Int64s) -> None:
    """The ident of each text, from where it begins in the data to where the next does."""
    for i in range(len(offsets) - 1):
        start = offsets[i]
        stop = offsets[i + 1]
        decimal = _decimal(data, start, stop)
        if decimal >= 0:
            out[i, 0] = 0
            out[i, 1] = decimal
        else:
            _murmur(data, start, stop, out[i])


def idents(texts: pa.Array) -> Int64s:
    """The idents of a string or non-negative integer column without nulls, int64 (n, 2).

    >>> idents(pa.array(["7", "07"]))[0].tolist()
    [0, 7]
    """
    if pa.types.is_integer(texts.type):
        out = np.zeros((len(texts), 2), np.int64)
        out[:, 1] = texts.to_numpy(zero_copy_only=False)
        return out
    texts = texts.cast(pa.large_string()) if not pa.types.is_large_string(texts.type) else texts
    out = np.empty((len(texts), 2), np.int64)
    if len(texts):
        _, offsets, data = texts.buffers()
        whole = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
        raw = (
            np.frombuffer(data, np.uint8)
            if data is not None and data.size
            else np.empty(0, np.uint8)
        )
        write_idents(np.ascontiguousarray(whole), raw, out)
    return out


def ident(text: str) -> tuple[int, int]:
    """The ident of one text.

    >>> ident("42")
    (0, 42)
    """
    hi, lo = idents(pa.array([text], pa.large_string()))[0].tolist()
    return hi, lo
