"""The records of files as `headrace publish` sends them: JSON with keys, in the files' order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from streams.batch import LABEL, Batch
from streams.errors import DeadLetter
from streams.schema import LATEST, MISSING, Event
from streams.sources import FileSource
from streams.textfile import read_lines
from streams.timestamps import parse

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]
LINES = (".ndjson", ".jsonl")
LONGEST = 1_000_000
"""Bytes that are sent of a line that has more: as much as the broker takes."""
SIZE = 4096


class Records(NamedTuple):
    """n records in order, events and labels among one another."""

    values: list[bytes]
    keys: list[bytes | None]
    """Of an event its first entity, of a label the id it speaks of; None where that is not read."""
    label: Bools
    """(n,) whether it is a label."""
    time: Int64s
    """(n,) its time, microseconds UTC, or that of an earlier record if that is later.

    A time that no record can have counts as none.
    """


def from_files(
    paths: Sequence[Path],
    event: Event,
    columns: Mapping[str, str],
    label_delay_us: int | None = None,
    size: int = SIZE,
) -> Iterator[Records]:
    """At most about `size` records at a time.

    Lines of NDJSON are sent byte for byte as they are, good or bad. Where `columns` says which is
    which, or labels lie beside the events (`label_delay_us`, see `streams.sources`), and of other
    files, records are written anew from what is read; what cannot be read is sent as it came.
    """
    latest = 0
    for path in paths:
        as_it_is = path.suffix.lower() in LINES and not columns and label_delay_us is None
        read = (
            _lines(path, event, size)
            if as_it_is
            else _rows(path, event, columns, label_delay_us, size)
        )
        for records in read:
            if len(records.values):
                possible = np.where(records.time < LATEST, records.time, 0)
                time = np.maximum(np.maximum.accumulate(possible), latest)
                latest = int(time[-1])
                yield records._replace(time=time)


def _lines(path: Path, event: Event, size: int) -> Iterator[Records]:
    for lines, *_ in read_lines(path, size, LONGEST):
        fields = [_fields(line) for line in lines]
        label = [event.label.name in each for each in fields]
        names = (event.keys[:1] or (event.id,))[0], event.id
        keys = [
            _key(each.get(names[is_label])) for each, is_label in zip(fields, label, strict=True)
        ]
        yield Records(
            lines, keys, np.array(label), _times([each.get(event.time) for each in fields])
        )


def _fields(line: bytes) -> dict[str, Any]:
    """The fields of a line that holds an object, else none."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _key(value: object) -> bytes | None:
    return str(value).encode(errors="replace") if isinstance(value, (str, int)) else None


def _times(values: list[object]) -> Int64s:
    """Microseconds of integers and timestamps, 0 of what is neither."""
    texts = [each if isinstance(each, str) else "" for each in values]
    whole = [each if isinstance(each, int) and 0 <= each < 1 << 62 else 0 for each in values]
    return np.maximum(parse(pa.array(texts, pa.large_string())), np.array(whole, np.int64))


def _rows(
    path: Path, event: Event, columns: Mapping[str, str], delay_us: int | None, size: int
) -> Iterator[Records]:
    # A batch has the texts of keys only, so categories are read as such.
    names = tuple(each.name for each in event.categories)
    wide = replace(event, keys=(*event.keys, *names), categories=())
    source = FileSource([path], wide, columns, batch_size=size, label_delay_us=delay_us)
    for batch, letters in source:
        yield _written(batch, letters, wide)


def _written(batch: Batch, letters: Sequence[DeadLetter], event: Event) -> Records:
    """The rows as JSON, then those that could not be read."""
    ids, *keys = (text.cast(pa.large_string()).to_pylist() for text in batch.texts)
    scales = [10**number.scale for number in event.numbers]
    numbers = [
        [None if held == MISSING else held / scale for held in column]
        for column, scale in zip(batch.numbers.T.tolist(), scales, strict=True)
    ]
    names = (event.id, event.time, *event.keys, *(number.name for number in event.numbers))
    label, dumps, flag = batch.kind == LABEL, orjson.dumps, event.label.name
    values = [
        dumps({event.id: row[0], event.time: row[1], flag: value == 1})
        if value >= 0
        else dumps(dict(zip(names, row, strict=True)))
        for value, row in zip(
            batch.label.tolist(),
            zip(ids, batch.time.tolist(), *keys, *numbers, strict=True),
            strict=True,
        )
    ]
    first = keys[0] if keys else ids
    owners = [
        (id_ if is_label else key).encode()
        for id_, key, is_label in zip(ids, first, label.tolist(), strict=True)
    ]
    return Records(
        values + [letter.raw for letter in letters],
        [*owners, *(None for _ in letters)],
        np.append(label, np.zeros(len(letters), np.bool_)),
        np.append(batch.time, np.zeros(len(letters), np.int64)),
    )
