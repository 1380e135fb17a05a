"""What an event is made of, declared once: decoder, batch, windows and JSON Schema obey it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

MISSING = -(2**63)
"""A number or category that was not given, in an int64 column."""

SECOND = 1_000_000
DAY = 86_400 * SECOND
EARLIEST = 0
LATEST = 7_258_118_400 * SECOND
"""Event times run from 1970 to 2200, in microseconds UTC."""

_UNITS = {"s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": DAY}


def duration_us(text: str | timedelta) -> int:
    """A duration such as `7d`, `12h`, `30m` or `45s`, in microseconds.

    >>> duration_us("7d") == 7 * 86_400_000_000
    True
    """
    if isinstance(text, timedelta):
        return text // timedelta(microseconds=1)
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if match is None:
        wanted = "a duration is a whole number and a unit: 45s, 30m, 12h or 7d"
        raise ValueError(f"{wanted}; got {text!r}")
    return int(match[1]) * _UNITS[match[2]]


def duration_text(us: int) -> str:
    """The shortest writing of a duration.

    >>> duration_text(7 * 86_400_000_000)
    '7d'
    """
    for unit in "dhms":
        if us % _UNITS[unit] == 0:
            return f"{us // _UNITS[unit]}{unit}"
    return f"{us}us"


@dataclass(frozen=True, slots=True)
class Number:
    """A decimal field, held as int64 units of 10**-scale: with scale 2, 12.34 is 1234.

    `minimum` and `maximum` are inclusive and in the field's own units. A field that is not required
    may be absent or null: `MISSING` in the column, never zero.
    """

    name: str
    scale: int = 0
    minimum: float = 0
    maximum: float = 1_000_000
    required: bool = True

    @property
    def largest(self) -> int:
        """The largest magnitude of the held integer."""
        unit: int = 10**self.scale
        return max(abs(round(bound * unit)) for bound in (self.minimum, self.maximum))


@dataclass(frozen=True, slots=True)
class Category:
    """A text field, held as the low word of its ident (`streams.ident`)."""

    name: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Label:
    """What is learnt: a boolean that arrives later, and when its absence means no."""

    name: str
    maturity: str = "7d"

    @property
    def maturity_us(self) -> int:
        """After this long without a positive label an event counts as negative."""
        return duration_us(self.maturity)


@dataclass(frozen=True, slots=True)
class Event:
    """The event of a pipeline: its id, its time, the entities it belongs to, what it carries.

    >>> Event("click", keys=("user",), label=Label("bought")).fields
    ('id', 'time', 'user')
    """

    name: str
    keys: tuple[str, ...]
    label: Label
    numbers: tuple[Number, ...] = ()
    categories: tuple[Category, ...] = ()
    id: str = "id"
    time: str = "time"
    version: int = 1
    max_bytes: int = 65_536
    max_ahead: str = "1h"

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field name: id, time, keys, numbers, categories."""
        numbers = (number.name for number in self.numbers)
        categories = (category.name for category in self.categories)
        return (self.id, self.time, *self.keys, *numbers, *categories)
