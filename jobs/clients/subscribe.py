"""A topic as it is appended to: JSON lines, or lines to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, Literal

import orjson

from jobs.clients.topic_filter import Clause
from jobs.clients.topic_reader import TopicReader
from jobs.clients.topic_view import Record
from streams.broker import Run

Start = Literal["beginning", "end"] | int
"""Where to begin; an integer is what was appended at that time or later, microseconds UTC."""


def begin(reader: TopicReader, start: Start) -> None:
    """Let the reader stand there."""
    if start == "beginning":
        reader.seek([first for first, _ in reader.bounds])
    elif start == "end":
        reader.seek_end()
    else:
        reader.seek_stamp(start)


def subscribe(
    reader: TopicReader,
    wanted: Sequence[Clause],
    count: int | None,
    show: Callable[[list[Record]], None],
    ended: Callable[[], bool],
) -> int:
    """Show what comes, as it comes, until the end is asked for or `count` were shown; how many.

    `show` is called with what there is, if only to let it notice that time has passed.
    """
    shown = 0
    while not ended() and (count is None or shown < count):
        found = [record for run in reader.take() for record in records(run, reader)]
        found = [each for each in found if all(clause.meets(each.fields) for clause in wanted)]
        found = found[: None if count is None else count - shown]
        show(found)
        shown += len(found)
    return shown


def records(run: Run, reader: TopicReader) -> Iterator[Record]:
    """The records of a run."""
    partition = reader.inputs[run.input].partition
    columns = zip(run.offsets.tolist(), run.stamps.tolist(), run.keys, run.values, strict=True)
    for offset, stamp_us, key, value in columns:
        yield Record(partition, offset, stamp_us, key, value, _fields(value))


def _fields(value: bytes | None) -> dict[str, Any]:
    try:
        fields = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


class JsonLines:
    """Writes records as they are, one a line; what is no JSON object by its key and size."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def __call__(self, found: list[Record]) -> None:
        lines = [
            each.value if each.value is not None and each.fields and b"\n" not in each.value
            else _other(each)
            for each in found
        ]  # fmt: skip
        if lines:
            self._out.write(b"\n".join([*lines, b""]))
            self._out.flush()


def _other(record: Record) -> bytes:
    if record.fields:
        return orjson.dumps(record.fields)
    key = None if record.key is None else record.key.decode(errors="replace")
    size = None if record.value is None else len(record.value)
    return orjson.dumps({"key": key, "bytes": size})
