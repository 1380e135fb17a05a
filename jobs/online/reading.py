"""Reads a key's line back, for `headrace features get`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson
from rich.console import Group
from rich.table import Table
from rich.text import Text

from jobs.online.layout import Line, key_name, read_line
from streams.errors import InputError
from streams.redis import Address, Connection


@dataclass(frozen=True, slots=True)
class Found:
    """A key's line, and when it was looked at."""

    entity: str
    key: str
    line: Line
    at_us: int
    """Now, microseconds UTC."""
    keep_ms: int
    """For so long it is kept unless a newer one comes; -1 for ever."""

    @property
    def age_seconds(self) -> float:
        """Since the event, by this machine's clock."""
        return (self.at_us - self.line.time) / 1e6


def find(url: str, pipeline: str, entity: str, key: str) -> Found:
    """The line of a key. Raises InputError if the server cannot be asked or holds none."""
    address = Address.parse(url)
    connection = Connection(address, InputError)
    name = key_name(pipeline, entity, key)
    try:
        held = connection.ask([b"GET", name.encode()])
        keep_ms = int(connection.ask([b"PTTL", name.encode()]))
    finally:
        connection.close()
    if held is None:
        raise InputError(
            f"{address}: nothing is held under {name}: the key has had no event within the horizon "
            "of its features, or none since the store was empty; check --pipeline and the key"
        )
    try:
        line = read_line(held)
    except (ValueError, msgspec.DecodeError) as error:
        raise InputError(f"{address}: {name} holds no line of Headrace's: {error}") from None
    return Found(entity, key, line, time.time_ns() // 1000, keep_ms)


def as_json(found: Found) -> bytes:
    """All of it as one line of JSON."""
    said: dict[str, Any] = {"entity": found.entity, "key": found.key}
    said |= msgspec.structs.asdict(found.line)
    said |= {"age_seconds": found.age_seconds, "keep_seconds": found.keep_ms / 1000}
    return orjson.dumps(said)


def as_tables(found: Found) -> Group:
    """Event, score, age and features in words."""
    line = found.line
    facts = Table(title=f"{found.entity} {found.key}", title_justify="left", box=None)
    facts.show_header = False
    at = datetime.fromtimestamp(line.time // 1_000_000, UTC)
    said = {
        "event": f"{line.id}, {at:%Y-%m-%d %H:%M:%S} UTC, {_span(found.age_seconds)} ago",
        "score": f"{line.score:.6g}, {line.decision}, by version {line.model_version}",
        "kept": f"for {_span(found.keep_ms / 1000)} more" if found.keep_ms >= 0 else "for ever",
    }
    for name, text in said.items():
        facts.add_row(name, text)
    features = Table(box=None)
    features.add_column("feature")
    features.add_column("value", justify="right")
    for name, value in line.features.items():
        features.add_row(name, "–" if value is None else f"{value:,.6g}")
    return Group(facts, Text(""), features)


def _span(seconds: float) -> str:
    """A duration by its largest two units.

    >>> _span(93_784), _span(0.25), _span(-4)
    ('1 d 2 h', '0 s', '-4 s')
    """
    whole = int(abs(seconds))
    parts = [(whole // 86_400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min")]
    parts.append((whole % 60, "s"))
    first = next((n for n, (count, _) in enumerate(parts) if count), len(parts) - 1)
    text = " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2])
    return f"-{text}" if seconds <= -1 else text
