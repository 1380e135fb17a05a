"""One setting: what it may be, how it is read from text, what is said when it is something else."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:]+\]|[\w.-]+):(\d{1,5})")
_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,100}")
_REDIS = re.compile(r"(rediss?|unix)://\S+")
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class Secret:
    """A value that shows itself only to who asks for it: neither in a repr nor in a log.

    >>> Secret("hunter2"), f"{Secret('hunter2')}", Secret("hunter2").reveal()
    (***, '***', 'hunter2')
    """

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return "***"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a setting may be."""

    wanted: str
    """As errors and the docs say it."""
    types: tuple[type, ...]
    """What a TOML file may hold for it."""
    read: Callable[[str], Any]
    """From the text of a variable or flag; ValueError where it is no such thing."""
    good: Callable[[Any], bool] = lambda _: True
    make: Callable[[Any, Path], Any] = lambda value, _: value
    """The setting of a good value, which was given in this folder."""

    def take(self, raw: object, folder: Path, *, text: bool) -> Any:
        """The setting, of `raw` as a TOML file holds it or, if `text`, as it was typed.

        Raises ValueError if it is not what was wanted.

        >>> whole(1, 9).take("7", Path(), text=True)
        7
        """
        value = self.read(raw) if text and isinstance(raw, str) else raw
        if type(value) not in self.types or not self.good(value):
            raise ValueError(self.wanted)
        return self.make(value, folder)


def whole(least: int, most: int) -> Kind:
    """A whole number in this range."""
    return Kind(
        f"a whole number from {least} to {most}", (int,), int, lambda n: bool(least <= n <= most)
    )


def decimal(least: float, most: float) -> Kind:
    """A number in this range."""
    return Kind(
        f"a number from {least:g} to {most:g}",
        (int, float),
        float,
        lambda x: bool(least <= x <= most),
        lambda x, _: float(x),
    )


def one_of(*words: str) -> Kind:
    """One of these words."""
    return Kind(", ".join(words[:-1]) + f" or {words[-1]}", (str,), str, lambda it: it in words)


def _switch(text: str) -> bool:
    word = text.lower()
    if word not in (*_YES, *_NO):
        raise ValueError(text)
    return word in _YES


def _ports_fit(brokers: str) -> bool:
    found = [_HOST_PORT.fullmatch(each.strip()) for each in brokers.split(",")]
    return all(each is not None and 0 < int(each[2]) < 1 << 16 for each in found)


TEXT = Kind("text", (str,), str, bool)
SECRET = Kind("text", (str,), str, bool, lambda text, _: Secret(text))
SWITCH = Kind("true or false", (bool,), _switch)
PATH = Kind("a path", (str,), str, bool, lambda text, folder: folder / Path(text).expanduser())
PIPELINE = Kind(
    "text",
    (str,),
    str,
    bool,
    lambda text, folder: str(folder / Path(text).expanduser()) if text.endswith(".py") else text,
)
BROKERS = Kind("host:port, several by commas", (str,), str, _ports_fit)
PREFIX = Kind(
    "at most 100 letters, digits, dots, dashes or underscores",
    (str,),
    str,
    lambda text: _PREFIX.fullmatch(text) is not None,
)
ONLINE = Kind(
    "redis://host:port/number, rediss://… or unix://…",
    (str,),
    str,
    lambda url: not url or _REDIS.fullmatch(url) is not None,
)
LOGIN = Kind("text", (str,), str)
