"""The plain values that a line of JSON may hold, told apart byte by byte.

Plain is what needs no escapes and no exponents. A line ends in a newline, where every scan stops.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.jit import kernel, word_at
from streams.words import WORD, digits, number, plain

NOTHING, STRING, INTEGER, DECIMAL, TRUE, FALSE, NULL = range(7)
"""What begins at a byte."""
MOST_DIGITS = 18
_QUOTE, _MINUS, _POINT, _ZERO = b'"-.0'


def _plain() -> npt.NDArray[np.uint8]:
    """Per byte: 1 if it stands for itself inside a string, 2 if it is space between values."""
    table = np.ones(256, np.uint8)
    table[:32] = 0
    table[list(b'"\\')] = 0
    table[list(b" \t\r")] |= 2
    return table


_PLAIN = _plain()
_TENS = np.array([10**power for power in range(WORD)], np.int64)


@kernel()
def past_space(text, at):  # type: ignore[no-untyped-def]
    """The first byte from here on that is no space between values."""
    while _PLAIN[text[at]] & 2:
        at += 1
    return at


@kernel()
def _word(text, at, a, b, c):  # type: ignore[no-untyped-def]
    """Whether three bytes follow; reading stops at the first that differs, so at a newline."""
    return text[at + 1] == a and text[at + 2] == b and text[at + 3] == c


@kernel()
def past_plain(text, at):  # type: ignore[no-untyped-def]
    """The first byte from here on that does not stand for itself inside a string."""
    while at + WORD <= len(text):
        count = plain(word_at(text, at))
        at += count
        if count < WORD:
            return at
    while _PLAIN[text[at]] & 1:
        at += 1
    return at


@kernel()
def _short_number(text, at):  # type: ignore[no-untyped-def]
    """The digits that begin here, a point and the digits after it: how many, their number, where
    they end, and how many decimals there are, -1 without a point. How many is 0 where there are
    none, or too many for a word.
    """
    count = digits(word_at(text, at))
    if count in (0, WORD):
        return 0, np.int64(0), at, -1
    mantissa = number(word_at(text, at), count)
    at += count
    if text[at] != _POINT:
        return count, mantissa, at, -1
    word = word_at(text, at + 1)
    decimals = digits(word)
    if decimals in (0, WORD):
        return 0, mantissa, at, -1
    return count, mantissa * _TENS[decimals] + number(word, decimals), at + 1 + decimals, decimals


@kernel()
def token(text, at):  # type: ignore[no-untyped-def]
    """What plain value begins here, the first byte after it, an integer mantissa and decimals."""
    byte = text[at]
    mantissa, decimals = np.int64(0), 0
    if byte == _QUOTE:
        at = past_plain(text, at + 1)
        if text[at] != _QUOTE:
            return NOTHING, at, mantissa, decimals
        return STRING, at + 1, mantissa, decimals
    if byte == _MINUS or 48 <= byte <= 57:
        negative = byte == _MINUS
        at += negative
        first = at
        if at + 3 * WORD <= len(text):
            count, mantissa, stop, decimals = _short_number(text, at)
            plainly = count == 1 or text[first] != _ZERO
            if count and plainly and not (negative and mantissa == 0):
                what = INTEGER if decimals < 0 else DECIMAL
                return what, stop, (-mantissa if negative else mantissa), max(decimals, 0)
            mantissa, decimals = np.int64(0), 0
        while 48 <= text[at] <= 57 and at - first <= MOST_DIGITS:
            mantissa = mantissa * 10 + (np.int64(text[at]) - 48)
            at += 1
        digits = at - first
        if digits == 0 or (text[first] == _ZERO and digits > 1):
            return NOTHING, at, mantissa, decimals
        what = INTEGER
        if text[at] == _POINT:
            what = DECIMAL
            at += 1
            while 48 <= text[at] <= 57 and digits + decimals <= MOST_DIGITS:
                mantissa = mantissa * 10 + (np.int64(text[at]) - 48)
                at += 1
                decimals += 1
            if decimals == 0:
                return NOTHING, at, mantissa, decimals
        if digits + decimals > MOST_DIGITS or (negative and mantissa == 0):
            return NOTHING, at, mantissa, decimals
        return what, at, (-mantissa if negative else mantissa), decimals
    if byte == 116 and _word(text, at, 114, 117, 101):
        return TRUE, at + 4, mantissa, decimals
    if byte == 102 and _word(text, at, 97, 108, 115) and text[at + 4] == 101:
        return FALSE, at + 5, mantissa, decimals
    if byte == 110 and _word(text, at, 117, 108, 108):
        return NULL, at + 4, mantissa, decimals
    return NOTHING, at, mantissa, decimals
