"""Text eight bytes at a time, as a word whose lowest byte is the first: a few instructions for all.

A mark of a byte is its highest bit. Whoever calls makes sure that eight bytes are there.
"""

from __future__ import annotations

import numpy as np

from streams.jit import first_byte, kernel, word_at

WORD = 8
_EACH = 0x0101010101010101
_HIGH = np.uint64(0x80 * _EACH)
_LOW = np.uint64(0x7F * _EACH)
_ONES, _SPACES = np.uint64(_EACH), np.uint64(0x20 * _EACH)
_QUOTES, _BACKSLASHES = np.uint64(0x22 * _EACH), np.uint64(0x5C * _EACH)
_ZEROS, _BEYOND_NINE = np.uint64(0x30 * _EACH), np.uint64(0x76 * _EACH)
_HALVES, _QUARTERS, _PAIRS = (
    np.uint64(each) for each in (0x0000FFFF0000FFFF, 0x00FF00FF00FF00FF, 0x0F0F0F0F0F0F0F0F)
)
_TEN, _HUNDRED, _TEN_THOUSAND = (
    np.uint64(each) for each in ((10 << 8) + 1, (100 << 16) + 1, (10_000 << 32) + 1)
)


@kernel("uint64(uint64)")
def _zeros(word):  # type: ignore[no-untyped-def]
    """Marks the lowest byte that is zero; those above it may be marked wrongly."""
    return (word - _ONES) & ~word & _HIGH


@kernel("int64(uint64)")
def plain(word):  # type: ignore[no-untyped-def]
    """How many bytes stand for themselves inside a JSON string before one that does not."""
    control = (word - _SPACES) & ~word & _HIGH
    return first_byte(control | _zeros(word ^ _QUOTES) | _zeros(word ^ _BACKSLASHES))


@kernel("int64(uint64, int64, int64)")
def first_of(word, one, other):  # type: ignore[no-untyped-def]
    """Which byte is the first that is either of two; 8: none is."""
    ones, others = np.uint64(one) * _ONES, np.uint64(other) * _ONES
    return first_byte(_zeros(word ^ ones) | _zeros(word ^ others))


@kernel("int64(uint64)")
def digits(word):  # type: ignore[no-untyped-def]
    """How many bytes are decimal digits before one that is not."""
    found = word ^ _ZEROS
    return first_byte((((found & _LOW) + _BEYOND_NINE) | found) & _HIGH)


@kernel("int64(uint64, int64)")
def number(word, count):  # type: ignore[no-untyped-def]
    """The number that the first `count` bytes, 1 to 8 digits, are in decimal.

    Neighbours are added up to pairs, to fours, to the whole.
    """
    word = (word << np.uint64(8 * (WORD - count))) & _PAIRS
    word = ((word * _TEN) >> np.uint64(8)) & _QUARTERS
    word = ((word * _HUNDRED) >> np.uint64(16)) & _HALVES
    return np.int64((word * _TEN_THOUSAND) >> np.uint64(32))


@kernel()
def same(text, at, other, start, count):  # type: ignore[no-untyped-def]
    """Whether `count` bytes are the same in both; eight more must be there."""
    while count >= WORD:
        if word_at(text, at) != word_at(other, start):
            return False
        at, start, count = at + WORD, start + WORD, count - WORD
    differing = word_at(text, at) ^ word_at(other, start)
    return first_byte(differing) >= count
