"""Timestamps: RFC 3339 text to and from microseconds UTC, a column at a time.

The grammar is `YYYY-MM-DD`, `T`, `t` or a space, `hh:mm:ss`, an optional fraction and an optional
`Z`, `z` or `±hh:mm`. No offset means UTC; digits finer than a microsecond are cut; second 60 is the
next minute's second 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streams.jit import kernel, word_at
from streams.words import WORD, digits, number

NOT_A_TIME = -(2**63)
"""What `parse` gives for text that is not a timestamp."""

_WHOLE = len("1970-01-01T00:00:00.000000Z")
_COLONS, _TWO_COLONS = np.uint64(0xFF0000FF0000), np.uint64(0x3A00003A0000)
_ENDS, _POINT_AND_Z = np.uint64(0xFF000000000000FF), np.uint64(0x5A0000000000002E)
_READ_ONLY_INT64S = "Array(int64, 1, 'C', readonly=True)"
_READ_ONLY_BYTES = "Array(uint8, 1, 'C', readonly=True)"


@kernel(f"int64({_READ_ONLY_BYTES}, int64, int64)")
def _digits(text, start, stop):  # type: ignore[no-untyped-def]
    """The decimal number in text[start:stop], or a hugely negative one if it is none."""
    number = np.int64(0)
    for i in range(start, stop):
        digit = np.int64(text[i]) - 48
        if digit < 0 or digit > 9:
            return -(10**9)
        number = number * 10 + digit
    return number


@kernel("int64(int64, int64, int64)")
def _days(year, month, day):  # type: ignore[no-untyped-def]
    """Days from 1970-01-01 in the proleptic Gregorian calendar (Hinnant's days_from_civil)."""
    y = year - (1 if month <= 2 else 0)
    era = y // 400
    of_era = y - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


@kernel(f"int64({_READ_ONLY_BYTES}, int64, int64)")
def parse_one(text, start, stop):  # type: ignore[no-untyped-def]
    """Microseconds UTC of the text in text[start:stop], `NOT_A_TIME` where it is no timestamp."""
    if stop - start < 19:
        return NOT_A_TIME
    separator = text[start + 10]
    if (
        text[start + 4] != 45
        or text[start + 7] != 45
        or (separator not in (84, 116, 32))
        or text[start + 13] != 58
        or text[start + 16] != 58
    ):
        return NOT_A_TIME
    year = _digits(text, start, start + 4)
    month = _digits(text, start + 5, start + 7)
    day = _digits(text, start + 8, start + 10)
    hour = _digits(text, start + 11, start + 13)
    minute = _digits(text, start + 14, start + 16)
    second = _digits(text, start + 17, start + 19)
    if year < 0 or month < 1 or month > 12 or day < 1 or day > 31:
        return NOT_A_TIME
    following = _days(year + 1, 1, 1) if month == 12 else _days(year, month + 1, 1)
    if day > following - _days(year, month, 1):
        return NOT_A_TIME
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 60:
        return NOT_A_TIME
    at = start + 19
    micros = np.int64(0)
    if at < stop and text[at] == 46:
        at += 1
        first = at
        unit = 100_000
        while at < stop and 48 <= text[at] <= 57:
            micros += (np.int64(text[at]) - 48) * unit
            unit //= 10
            at += 1
        if at == first:
            return NOT_A_TIME
    ahead = 0
    if at < stop and (text[at] == 90 or text[at] == 122):
        at += 1
    elif stop - at == 6 and (text[at] == 43 or text[at] == 45) and text[at + 3] == 58:
        hours = _digits(text, at + 1, at + 3)
        minutes = _digits(text, at + 4, at + 6)
        if hours < 0 or hours > 23 or minutes < 0 or minutes > 59:
            return NOT_A_TIME
        ahead = (hours * 60 + minutes) * (1 if text[at] == 43 else -1)
        at += 6
    if at != stop:
        return NOT_A_TIME
    of_day = (hour * 60 + minute - ahead) * 60 + second
    return (_days(year, month, day) * 86_400 + of_day) * 1_000_000 + micros


@kernel("int64(uint64, uint64)")
def _of_day(clock, fraction):  # type: ignore[no-untyped-def]
    """Microseconds since midnight of hh:mm:ss and .ffffffZ, or -1 where they are not just that."""
    minutes, seconds = clock >> np.uint64(3 * WORD), clock >> np.uint64(6 * WORD)
    micros = fraction >> np.uint64(WORD)
    if digits(clock) != 2 or digits(minutes) != 2 or digits(seconds) != 2 or digits(micros) != 6:
        return -1
    if clock & _COLONS != _TWO_COLONS or fraction & _ENDS != _POINT_AND_Z:
        return -1
    hour, minute, second = number(clock, 2), number(minutes, 2), number(seconds, 2)
    if hour > 23 or minute > 59 or second > 59:
        return -1
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + number(micros, 6)


@kernel(f"int64({_READ_ONLY_BYTES}, int64, int64, uint64[::1])")
def parse_next(text, start, stop, day):  # type: ignore[no-untyped-def]
    """`parse_one` of many in turn: most are of one day, written in the same 27 bytes.

    `day` keeps the date that was written last, and when that day began; at first it is zeros.
    """
    if stop - start != _WHOLE:
        return parse_one(text, start, stop)
    date, rest = word_at(text, start), word_at(text, start + 3)
    of_day = _of_day(word_at(text, start + 11), word_at(text, start + 19))
    if of_day >= 0 and day[0] == date and day[1] == rest:
        return np.int64(day[2]) + of_day
    time = parse_one(text, start, stop)
    if of_day >= 0 and time != NOT_A_TIME:
        day[0], day[1], day[2] = date, rest, np.uint64(time - of_day)
    return time


@kernel(f"void({_READ_ONLY_INT64S}, {_READ_ONLY_BYTES}, int64[::1])")
def _parse_many(offsets, text, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i] = parse_one(text, offsets[i], offsets[i + 1])


def parse(texts: pa.LargeStringArray) -> npt.NDArray[np.int64]:
    """Microseconds UTC of each text, `NOT_A_TIME` where it is no timestamp; no nulls.

    >>> parse(pa.array(["1970-01-01T01:00:01.5+01:00", "soon"], pa.large_string())).tolist()
    [1500000, -9223372036854775808]
    """
    out = np.empty(len(texts), np.int64)
    if len(texts):
        _, offsets, text = texts.buffers()
        bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
        empty = text is None or text.size == 0
        _parse_many(bounds, np.empty(0, np.uint8) if empty else np.frombuffer(text, np.uint8), out)
    return out


def time_text(time_us: int) -> str:
    """A time as RFC 3339 text, with as many decimals as it needs.

    >>> time_text(1_522_540_831_000_000)
    '2018-04-01T00:00:31Z'
    """
    return f"{np.datetime64(time_us, 'us')}".removesuffix(".000000") + "Z"
