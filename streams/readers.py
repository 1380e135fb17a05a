"""The three file formats, each read from any position to its end: Parquet, CSV and NDJSON.

A position is a pair of integers: in a Parquet file the row and 0, in a text file the byte and the
line before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from streams.batch import Batch
from streams.codec import Decoder
from streams.columns import optional_fields
from streams.errors import DeadLetter, InputError, Reason
from streams.schema import Event
from streams.tables import from_columns
from streams.textfile import read_lines

Position = tuple[int, int]
Chunk = tuple[Batch, list[DeadLetter], Position]

START: Position = (0, 0)


class Reader(Protocol):
    """A file of events."""

    rows: int | None
    """How many rows it has, where that is known beforehand."""
    end: int
    """The first integer of the position after its last record."""

    def read(self, size: int, position: Position) -> Iterator[Chunk]:
        """Batches of at most `size` records from the position on, and the position after each."""


class ParquetReader:
    """Streams the wanted columns; no row group is held whole as rows."""

    def __init__(
        self,
        path: Path,
        event: Event,
        columns: Mapping[str, str],
        partition: int,
        received: int | None,
    ) -> None:
        self._path, self._event, self._partition = path, event, partition
        self._received = received
        _check_readable(path)
        try:
            self._file = pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, "a whole Parquet file", error) from None
        self._columns = wanted_columns(path, event, columns, self._file.schema_arrow.names)
        self.end = self._file.metadata.num_rows
        self.rows: int | None = self.end

    def read(self, size: int, position: Position) -> Iterator[Chunk]:
        """Rows from the position's row on."""
        metadata = self._file.metadata
        row, group = 0, 0
        while group < metadata.num_row_groups:
            count = metadata.row_group(group).num_rows
            if row + count > position[0]:
                break
            row, group = row + count, group + 1
        groups = list(range(group, metadata.num_row_groups))
        names = list(dict.fromkeys(self._columns.values()))
        try:
            for records in self._file.iter_batches(size, row_groups=groups, columns=names):
                skipped = min(max(position[0] - row, 0), len(records))
                row += len(records)
                if skipped < len(records):
                    yield self._chunk(records[skipped:], row)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self._path, "a whole Parquet file", error) from None

    def _chunk(self, records: pa.RecordBatch, end: int) -> Chunk:
        columns = {field: records.column(name) for field, name in self._columns.items()}
        rows = np.arange(end - len(records), end)
        batch, letters = from_columns(
            self._event, columns, self._received, str(self._path), self._partition, rows
        )
        return batch, letters, (end, 0)


class JsonReader:
    """Events and labels as NDJSON; blank lines are skipped."""

    rows: int | None = None

    def __init__(
        self,
        path: Path,
        event: Event,
        columns: Mapping[str, str],
        partition: int,
        received: int | None,
    ) -> None:
        self._path, self._partition, self._received = path, partition, received
        self._limit = event.max_bytes
        self._decoder = Decoder(event, topic=str(path), names=columns)
        self.end = _check_readable(path)

    def read(self, size: int, position: Position) -> Iterator[Chunk]:
        """Records from the position's byte on."""
        for lines, numbers, *end in read_lines(self._path, size, self._limit, *position):
            batch, letters = self._decoder.decode(
                lines, self._received, self._partition, np.array(numbers, np.int64)
            )
            yield batch, letters, (end[0], end[1])


class CsvReader:
    """Comma-separated values with a header line; a value holds no line break, empty is absent."""

    rows: int | None = None

    def __init__(
        self,
        path: Path,
        event: Event,
        columns: Mapping[str, str],
        partition: int,
        received: int | None,
    ) -> None:
        self._path, self._event, self._partition = path, event, partition
        self._received = received
        self.end = _check_readable(path)
        header, _, *start = next(read_lines(path, 1, event.max_bytes))
        self._start = (start[0], start[1])
        try:
            names = pa.csv.read_csv(pa.py_buffer(b"".join(header) + b"\n")).column_names
        except pa.ArrowException as error:
            raise _unreadable(path, "a CSV file with a header line", error) from None
        self._columns = wanted_columns(path, event, columns, names)
        twice = sorted(name for name in self._columns.values() if names.count(name) > 1)
        if twice:
            raise InputError(f"{path}: the header has {twice[0]!r} twice; rename one")
        self._options = pa.csv.ConvertOptions(
            include_columns=list(dict.fromkeys(self._columns.values())),
            column_types=dict.fromkeys(self._columns.values(), pa.large_binary()),
        )
        self._names = names

    def read(self, size: int, position: Position) -> Iterator[Chunk]:
        """Rows from the position's byte on."""
        position = max(position, self._start)
        for lines, numbers, *end in read_lines(self._path, size, self._event.max_bytes, *position):
            yield *self._chunk(lines, np.array(numbers, np.int64)), (end[0], end[1])

    def _chunk(
        self, lines: list[bytes], numbers: np.ndarray[tuple[int], np.dtype[np.int64]]
    ) -> tuple[Batch, list[DeadLetter]]:
        problems = {}
        for row, line in enumerate(lines):
            if len(line) > self._event.max_bytes:
                problems[row] = (Reason.TOO_LARGE, f"more than {self._event.max_bytes} bytes")
            elif line.count(b'"') % 2:
                problems[row] = (Reason.NOT_A_ROW, "a quote is not closed")
        kept = [row for row in range(len(lines)) if row not in problems]
        broken: list[int] = []

        def refuse(row: pa.csv.InvalidRow) -> str:
            found = f"{row.actual_columns} values; the header has {row.expected_columns}"
            place = kept[row.number - 1]
            problems[place] = (Reason.NOT_A_ROW, found)
            broken.append(place)
            return "skip"

        columns = self._parse([lines[row] for row in kept], refuse)
        kept = [row for row in kept if row not in problems] if broken else kept
        batch, letters = from_columns(
            self._event, columns, self._received, str(self._path), self._partition, numbers[kept]
        )
        letters += [
            DeadLetter(
                *why,
                topic=str(self._path),
                partition=self._partition,
                offset=int(numbers[row]),
                time_us=self._received or 0,
                raw=lines[row][: self._event.max_bytes],
            )
            for row, why in problems.items()
        ]
        return batch, sorted(letters, key=lambda letter: letter.offset)

    def _parse(self, lines: list[bytes], refuse: object) -> dict[str, pa.Array]:
        table = pa.csv.read_csv(
            pa.py_buffer(b"\n".join([*lines, b""]) or b"\n"),
            read_options=pa.csv.ReadOptions(
                column_names=self._names, use_threads=False, block_size=1 << 30
            ),
            parse_options=pa.csv.ParseOptions(invalid_row_handler=refuse),
            convert_options=self._options,
        )
        columns = {}
        for field, name in self._columns.items():
            values = pa.concat_arrays([pa.array([], pa.large_binary()), *table.column(name).chunks])
            empty = pc.equal(pc.binary_length(values), 0)
            columns[field] = pc.if_else(empty, pa.scalar(None, pa.large_binary()), values)
        return columns


def wanted_columns(
    path: Path, event: Event, columns: Mapping[str, str], there: list[str]
) -> dict[str, str]:
    """Field → column name for every field that has one; `InputError` if a required one lacks."""
    optional = optional_fields(event)
    wanted = {name: columns.get(name, name) for name in event.fields}
    if event.label.name in columns:
        wanted[event.label.name] = columns[event.label.name]
    missing = [
        f"{column!r} (for {field!r})"
        for field, column in wanted.items()
        if column not in there and (field in columns or field not in optional)
    ]
    if missing:
        raise InputError(
            f"{path}: no column {', '.join(missing)}; there are {', '.join(map(repr, there))}; "
            "say which is which with --columns field=column,…"
        )
    return {field: column for field, column in wanted.items() if column in there}


def _check_readable(path: Path) -> int:
    """Bytes of a file that can be read and is not empty."""
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise _unreadable(path, "a readable file", error) from None
    if not size:
        raise InputError(f"{path}: the file is empty; name one that holds records")
    return size


def _unreadable(path: Path, wanted: str, error: Exception) -> InputError:
    came = getattr(error, "strerror", None) or str(error).split("\n", maxsplit=1)[0]
    return InputError(f"{path}: wanted {wanted}; got: {came}; check the path or fetch it again")
