"""What a cluster has of the topics, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from jobs.clients.topics import Found
from streams.topics import DAY_MS

COLUMNS = ("topic", "record", "partitions", "kept", "time by", "key")
_UNITS = ((DAY_MS, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))
_STAMPED = {"LogAppendTime": "broker", "CreateTime": "producer"}


def table(found: Sequence[Found]) -> Iterator[RenderableType]:
    """A row for each topic, then what differs from what is wanted."""
    shown = Table(box=None, pad_edge=False, header_style="bright_black")
    for name in COLUMNS[:-1]:
        shown.add_column(name, justify="right" if name == "partitions" else "left", no_wrap=True)
    shown.add_column(COLUMNS[-1], min_width=12, overflow="fold")
    for each in found:
        if each.partitions:
            cells = [f"{each.partitions}", _kept(each), _stamped(each)]
        else:
            cells = ["missing", "", ""]
        shown.add_row(each.name, each.topic.record, *cells, each.topic.key)
    yield shown
    for each in found:
        yield from (Text(line, style="yellow") for line in each.differences)


def _kept(found: Found) -> str:
    """How long records are.

    >>> from streams.topics import TOPICS
    >>> drift = TOPICS["drift"]
    >>> _kept(Found(drift, "drift", 1, drift.settings, ()))
    '30 d'
    """
    if found.settings["cleanup.policy"] == "compact":
        return "last of key"
    kept = int(found.settings["retention.ms"])
    if kept < 0:
        return "for ever"
    size, unit = next((each for each in _UNITS if kept >= each[0]), (1, "ms"))
    return f"{kept / size:.3g} {unit}"


def _stamped(found: Found) -> str:
    stamped = found.settings["message.timestamp.type"]
    return _STAMPED.get(stamped, stamped)
