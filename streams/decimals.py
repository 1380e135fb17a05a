"""Decimal text to the nearest double, by kernels.

Method: Lemire, "Number parsing at a gigabyte per second", Software: Practice and Experience 51
(2021). The digits as a 64-bit number times a 128-bit power of ten leave no doubt which double is
nearest, but for rare cases, which are told as such and left to others.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.jit import kernel, word_at
from streams.words import WORD, digits, number

_LEAST, _MOST = -342, 308
_ROOM = 2**64
_TENS = np.array([10**power for power in range(WORD + 1)], np.uint64)
_FULL = np.array([(_ROOM - 1) // 10**power - 1 for power in range(WORD + 1)], np.uint64)
"""The largest number that takes so many more digits."""
_MINUS, _PLUS, _POINT, _E, _LARGE_E, _N = b"-+.eEn"
_HALF = np.uint64(32)
_LOWER = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)
_ROUNDED_OFF = np.uint64(0x1FF)
_FRACTION = np.uint64((1 << 52) - 1)
_SIGN = np.uint64(1 << 63)
_EXACT, _EXACT_TENS = np.uint64(2**53), 23
_DOUBLES = np.array([10.0**power for power in range(_EXACT_TENS)])


def _powers() -> npt.NDArray[np.uint64]:
    """(n, 2) the upper 128 bits, rounded down, of each power of ten; of each the lower word first.

    >>> [hex(word) for word in _powers()[-_LEAST].tolist()]
    ['0x0', '0x8000000000000000']
    """
    rows = []
    for power in range(_LEAST, _MOST + 1):
        if power >= 0:
            bits = (10**power).bit_length()
            value = 10**power << 128 >> bits
        else:
            bits = (10**-power).bit_length() + 128
            value = (1 << bits) // 10**-power
            value >>= value.bit_length() - 128
        rows.append((value % _ROOM, value >> 64))
    return np.array(rows, np.uint64)


_POWERS = _powers()


@kernel()
def _high_and_low(a, b):  # type: ignore[no-untyped-def]
    """Both words of the product of two."""
    lower, mid = (a & _LOWER) * (b & _LOWER), (a >> _HALF) * (b & _LOWER)
    mid += lower >> _HALF
    other = (a & _LOWER) * (b >> _HALF) + (mid & _LOWER)
    high = (a >> _HALF) * (b >> _HALF) + (mid >> _HALF) + (other >> _HALF)
    return high, (other << _HALF) | (lower & _LOWER)


@kernel()
def _leading_zeros(word):  # type: ignore[no-untyped-def]
    """Zero bits above the highest that is set."""
    zeros = 0
    for step in (32, 16, 8, 4, 2, 1):
        if not word >> np.uint64(64 - step):
            zeros += step
            word <<= np.uint64(step)
    return zeros


@kernel("Tuple((bool, uint64))(uint64, int64)")
def nearest(mantissa, power):  # type: ignore[no-untyped-def]
    """The bits of the double nearest to mantissa × 10**power, and whether that is certain."""
    if mantissa == 0:
        return True, np.uint64(0)
    if not _LEAST <= power <= _MOST:
        return False, np.uint64(0)
    zeros = _leading_zeros(mantissa)
    mantissa <<= np.uint64(zeros)
    exponent = ((217706 * power) >> 16) + 64 + 1023 - zeros  # the power's binary one: x log2(10)
    high, low = _high_and_low(mantissa, _POWERS[power - _LEAST, 1])
    if high & _ROUNDED_OFF == _ROUNDED_OFF and low + mantissa < mantissa:
        # The power's lower word may decide.
        more, least = _high_and_low(mantissa, _POWERS[power - _LEAST, 0])
        sum_ = low + more
        if sum_ < low:
            high += _ONE
        if (
            high & _ROUNDED_OFF == _ROUNDED_OFF
            and sum_ + _ONE == np.uint64(0)
            and least + mantissa < mantissa
        ):
            return False, np.uint64(0)
        low = sum_
    top = high >> np.uint64(63)
    found = high >> (top + np.uint64(9))
    exponent -= 1 - np.int64(top)
    if low == 0 and high & _ROUNDED_OFF == 0 and found & np.uint64(3) == _ONE:
        return False, np.uint64(0)  # half-way between two, as far as can be seen
    found = (found + (found & _ONE)) >> _ONE
    if found >> np.uint64(53):
        found >>= _ONE
        exponent += 1
    if not 1 <= exponent < 0x7FF:
        return False, np.uint64(0)
    return True, (np.uint64(exponent) << np.uint64(52)) | (found & _FRACTION)


@kernel()
def _take_digits(text, at, stop, mantissa):  # type: ignore[no-untyped-def]
    """The number with the digits that follow behind it, and where they end; -1: it is too long."""
    while at + WORD <= stop:
        word = word_at(text, at)
        count = digits(word)
        if count == 0:
            return mantissa, at
        if mantissa > _FULL[count]:
            return mantissa, -1
        mantissa = mantissa * _TENS[count] + np.uint64(number(word, count))
        at += count
        if count < WORD:
            return mantissa, at
    while at < stop and 48 <= text[at] <= 57:
        if mantissa > _FULL[1]:
            return mantissa, -1
        mantissa = mantissa * np.uint64(10) + np.uint64(text[at] - 48)
        at += 1
    return mantissa, at


@kernel()
def read_integer(text, at, stop):  # type: ignore[no-untyped-def]
    """The integer that begins here, below 2**63, and where it ends; -1: there is none such."""
    negative = at < stop and text[at] == _MINUS
    first = at + negative
    mantissa, end = _take_digits(text, first, stop, np.uint64(0))
    if end <= first or mantissa >> np.uint64(63):
        return np.int64(0), -1
    return (-np.int64(mantissa) if negative else np.int64(mantissa)), end


@kernel()
def read_float(text, at, stop, out, bits, place):  # type: ignore[no-untyped-def]
    """Write the number or null that begins here; returns where it ends, or -1: none can be told.

    `out` are doubles, `bits` the same memory as words: it is `place` in both.
    """
    if at + 4 <= stop and text[at] == _N:
        out[place] = np.nan
        return at + 4
    negative = at < stop and text[at] == _MINUS
    first = at + negative
    mantissa, at = _take_digits(text, first, stop, np.uint64(0))
    if at <= first:
        return -1
    power = np.int64(0)
    if at < stop and text[at] == _POINT:
        first = at + 1
        mantissa, at = _take_digits(text, first, stop, mantissa)
        if at <= first:
            return -1
        power = first - at
    if at < stop and text[at] in (_E, _LARGE_E):
        at += 1
        below = at < stop and text[at] == _MINUS
        first = at + (at < stop and text[at] in (_MINUS, _PLUS))
        exponent, at = _take_digits(text, first, stop, np.uint64(0))
        if at <= first or exponent > np.uint64(_MOST - _LEAST):
            return -1
        power += -np.int64(exponent) if below else np.int64(exponent)
    if mantissa <= _EXACT and -_EXACT_TENS < power < _EXACT_TENS:
        # Both are doubles, so one division or multiplication rounds but once.
        value = np.float64(mantissa)
        value = value / _DOUBLES[-power] if power < 0 else value * _DOUBLES[power]
        out[place] = -value if negative else value
        return at
    certain, found = nearest(mantissa, power)
    bits[place] = found | (_SIGN if negative else np.uint64(0))
    return at if certain else -1
