"""Where a run's results go: predictions as Parquet, dead letters and alarms as lines of JSON.

Both are cut back exactly to what a saved state counts.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from streams.errors import DeadLetter, OutputError, StateError
from streams.rowgroups import join

_GROUP_ROWS = 131_072
_SMALL = 16_384
_PARTS = b"headrace.parts"


class PredictionsParquet:
    """Appends tables as numbered parts under `path` + `.parts`; `finish` makes them the one file.

    A part appears whole (written aside, synced, renamed) at `commit`, which says how many there
    are; a run that comes back after a crash calls `truncate_after` with the number in its state. A
    finished file may be gone on with in the same way. A full disk is an `OutputError`, and the
    parts committed before it are good.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._folder = path.with_name(path.name + ".parts")
        self._aside = path.with_name(path.name + ".tmp")
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._rows = 0
        self._parts = 0

    def truncate_after(self, parts: int) -> None:
        """Keep the first `parts` parts and no other; 0 starts anew. To be called first."""
        with _writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._count(parts) < parts and _parts_in(self._path) == parts:
                self._drop_after(0)
                self._path.rename(self._part(1, parts))
            self._drop_after(parts)
        counted = self._count(parts)
        if counted != parts:
            raise StateError(
                f"{self._folder}: the saved state counts {parts} parts, here are {counted}; put "
                "the folder back as it was or start with an empty one"
            )
        self._parts = parts

    def write(self, rows: pa.Table) -> None:
        """Append rows of the schema; they are on disk for good after the next `commit`."""
        self._waiting.append(rows)
        self._rows += len(rows)
        if self._rows >= _GROUP_ROWS:
            self._write_group()

    def commit(self) -> int:
        """Make what was written since the last commit a part; the number of parts."""
        self._write_group()
        if self._writer is not None:
            with _writing(self._path):
                self._writer.close()
                self._writer = None
                _sync(self._aside)
                self._aside.rename(self._part(self._parts + 1, self._parts + 1))
                _sync(self._folder)
            self._parts += 1
        return self._parts

    def finish(self) -> Path:
        """Commit and make all parts the one file; what was there before is replaced whole."""
        self.commit()
        parts = [self._part(*span) for span in self._there()]
        with _writing(self._path):
            if len(parts) == 1:
                parts.pop().rename(self._path)
            else:
                self._join(parts)
                _sync(self._aside)
                self._aside.rename(self._path)
            _sync(self._path.parent)
            for part in reversed(parts):
                part.unlink()
            self._folder.rmdir()
        return self._path

    def _join(self, parts: list[Path]) -> None:
        """Put the parts' row groups into one file as they are, or together where they are small."""
        held = [pq.read_metadata(part) for part in parts]
        schema = self._numbered(self._parts)
        groups = sum(each.num_row_groups for each in held)
        if held and sum(each.num_rows for each in held) >= _SMALL * groups:
            with self._aside.open("wb") as file:
                join(parts, file, schema.metadata)
            return
        with pq.ParquetWriter(self._aside, schema, **_encoding(schema)) as writer:
            for group in _groups(parts):
                writer.write_table(group.cast(writer.schema))

    def _part(self, first: int, last: int) -> Path:
        return self._folder / f"{first:08d}-{last:08d}.parquet"

    def _there(self) -> list[tuple[int, int]]:
        """The first and last number of each part in the folder; a finished file has many."""
        stems = (path.stem.split("-") for path in self._folder.glob("*.parquet"))
        return sorted((int(first), int(last)) for first, last in stems)

    def _count(self, parts: int) -> int:
        return sum(last - first + 1 for first, last in self._there() if last <= parts)

    def _drop_after(self, parts: int) -> None:
        for span in self._there():
            if span[1] > parts:
                self._part(*span).unlink()

    def _numbered(self, parts: int) -> pa.Schema:
        return self._schema.with_metadata({_PARTS: str(parts).encode()})

    def _write_group(self) -> None:
        if not self._rows:
            return
        with _writing(self._path):
            try:
                if self._writer is None:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    schema = self._numbered(self._parts + 1)
                    self._writer = pq.ParquetWriter(self._aside, schema, **_encoding(schema))
                self._writer.write_table(pa.concat_tables(self._waiting).cast(self._writer.schema))
            except (OSError, pa.ArrowException):
                self._abandon()
                raise
        self._waiting, self._rows = [], 0

    def _abandon(self) -> None:
        """Give the space of the unfinished part back."""
        writer, self._writer = self._writer, None
        self._waiting, self._rows = [], 0
        if writer is not None:
            writer.is_open = False
        self._aside.unlink(missing_ok=True)


def _encoding(schema: pa.Schema) -> dict[str, Any]:
    """No dictionary of what hardly repeats, floats by byte, no bounds but of times and versions:
    half the time of the defaults, and no more bytes.
    """
    floats = [field.name for field in schema if pa.types.is_floating(field.type)]
    times = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    whole = [field.name for field in schema if pa.types.is_integer(field.type)]
    return {
        "compression": "lz4",
        "use_byte_stream_split": floats,
        "use_dictionary": [name for name in schema.names if name not in {"id", *times, *floats}],
        "write_statistics": [*times, *whole],
    }


def _groups(parts: Iterable[Path]) -> Iterator[pa.Table]:
    """The row groups of all parts, small ones put together."""
    waiting: list[pa.Table] = []
    for part in parts:
        with pq.ParquetFile(part) as file:
            for group in range(file.num_row_groups):
                waiting.append(file.read_row_group(group))
                if sum(map(len, waiting)) >= _GROUP_ROWS:
                    yield pa.concat_tables(waiting)
                    waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _parts_in(path: Path) -> int | None:
    """How many parts a finished file was made of; None if there is no such file."""
    try:
        return int((pq.read_metadata(path).metadata or {}).get(_PARTS, b"0"))
    except (OSError, pa.ArrowException):
        return None


class Lines:
    """Appends lines of JSON; `commit` says the length to cut back to on restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")

    def truncate(self, position: int) -> None:
        """Keep the first `position` bytes and no more; 0 starts anew."""
        if self._path.stat().st_size < position:
            raise StateError(
                f"{self._path}: the saved state counts {position} bytes, here are "
                f"{self._path.stat().st_size}; put the file back or start with an empty folder"
            )
        with _writing(self._path):
            self._file.truncate(position)
            self._file.seek(position)  # what is committed next may be nothing at all

    def write(self, lines: Iterable[bytes]) -> None:
        """Append; on disk for good after the next `commit`."""
        with _writing(self._path):
            self._file.writelines(line + b"\n" for line in lines)

    def commit(self) -> int:
        """Sync; the length of the file in bytes."""
        with _writing(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Commit and let the file go."""
        self.commit()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def encode_dead_letter(letter: DeadLetter) -> bytes:
    """The letter as JSON: its bytes as `raw` if they are UTF-8, else in base 64 as `raw_base64`."""
    content: dict[str, Any] = {
        "reason": letter.reason.value,
        "detail": letter.detail,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "time": letter.time_us,
    }
    try:
        return orjson.dumps(content | {"raw": letter.raw.decode()})
    except UnicodeDecodeError:
        return orjson.dumps(content | {"raw_base64": b64encode(letter.raw).decode()})


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        came = getattr(error, "strerror", None) or error
        raise OutputError(
            f"{path}: cannot be written: {came}; what was committed before is good: make room or "
            "name another folder, then run again"
        ) from None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
