"""Journal: what was taken, in which order and with which model version, kept before output leaves.

A folder of files, each named by its first batch: a line that says the format, then records of a
mark, a length, a CRC-32 and the entry. One `write` per batch puts it in the page cache, which a
killed process does not take with it; with `fsync` it is on the disk when `append` returns.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from streams.atomic import sync_folder
from streams.errors import OutputError, StateError

_FORMAT = b"headrace journal 1\n"
_MARK = b"\xa9hrj"
_HEAD = struct.Struct("<4sII")
_BODY = struct.Struct("<qq16s")


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One batch: enough to take it again and score it again, byte for byte."""

    sequence: int
    """Batches are numbered one after the other."""
    ranges: npt.NDArray[np.int64]
    """(n, 4) partition, first offset, last offset and rows, in the order they were taken."""
    version: int
    """Sequence of the model version that scored it."""
    digest: bytes
    """The first 16 bytes of that version's content hash."""


class Journal:
    """The entries since some batch, in a folder of its own; one process appends.

    A record that a crash cut short at the end is dropped at opening: its batch sent nothing. Damage
    anywhere else, another format or a gap is a StateError.

    >>> journal = Journal(Path(getfixture("tmp_path")))
    >>> journal.append(Entry(1, np.array([[0, 100, 149, 50]]), version=3, digest=bytes(16)))
    >>> [(entry.sequence, entry.ranges.tolist()) for entry in journal.entries(after=0)]
    [(1, [[0, 100, 149, 50]])]
    """

    last: int | None = None
    """The last batch written, or None."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self.folder = folder
        self._fsync = fsync
        self._file: int | None = None
        self._size = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"{folder}: wanted a folder for the journal, got {error.strerror}; "
                "name one that can be written"
            ) from error
        paths = self._paths()
        for path in paths:
            entries, good = _read(path)
            if good < path.stat().st_size and path is not paths[-1]:
                raise _damaged(path, good)
            os.truncate(path, good)
            for entry in entries:
                if self.last is not None and entry.sequence != self.last + 1:
                    raise _gap(path, self.last + 1, entry.sequence)
                self.last = entry.sequence
            if not entries:
                path.unlink()

    def append(self, entry: Entry) -> None:
        """Write one entry; it must follow `last`.

        Raises OutputError, with the journal as before, when the disk does not take it.
        """
        if self.last is not None and entry.sequence != self.last + 1:
            raise ValueError(f"wanted batch {self.last + 1}, got batch {entry.sequence}")
        body = _BODY.pack(entry.sequence, entry.version, entry.digest)
        body += np.ascontiguousarray(entry.ranges, np.int64).tobytes()
        record = _HEAD.pack(_MARK, len(body), zlib.crc32(body)) + body
        try:
            if self._file is None:
                self._file = self._begin(entry.sequence)
            self._write(self._file, record)
        except OSError as error:
            raise OutputError(
                f"{self.folder}: wanted {len(record):,} bytes for the journal entry of batch "
                f"{entry.sequence}, got {error.strerror}; free space there, then run again"
            ) from error
        self.last = entry.sequence

    def entries(self, after: int) -> Iterator[Entry]:
        """Every entry after this batch, in order; StateError if those right after it are gone."""
        wanted = after + 1
        for path in self._paths():
            for entry in _read(path)[0]:
                if entry.sequence > wanted:
                    raise _gap(path, wanted, entry.sequence)
                if entry.sequence == wanted:
                    yield entry
                    wanted += 1

    def truncate_before(self, sequence: int) -> None:
        """Delete the files that hold only earlier batches, and let the next entry begin a file.

        Called at every snapshot, it keeps what is needed from `sequence` on and at most the
        entries between two calls more.
        """
        self.close()
        paths = self._paths()
        ends = [int(path.stem) - 1 for path in paths[1:]] + [self.last or 0]
        for path, end in zip(paths, ends, strict=False):
            if end < sequence:
                path.unlink()

    def close(self) -> None:
        """Close the file; a later `append` begins another."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("*.journal"))

    def _begin(self, sequence: int) -> int:
        path = self.folder / f"{sequence:020d}.journal"
        self._size = 0
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            self._write(file, _FORMAT)
            if self._fsync:
                sync_folder(self.folder)
        except OSError:
            os.close(file)
            path.unlink()
            raise
        return file

    def _write(self, file: int, record: bytes) -> None:
        try:
            rest = memoryview(record)
            while rest:  # a disk that is nearly full takes a part
                rest = rest[os.write(file, rest) :]
            if self._fsync:
                os.fdatasync(file)
        except OSError:
            os.ftruncate(file, self._size)
            raise
        self._size += len(record)


def _read(path: Path) -> tuple[list[Entry], int]:
    """The whole entries of a file, and how many bytes they and the first line take."""
    raw = path.read_bytes()
    if not raw.startswith(_FORMAT):
        if _FORMAT.startswith(raw):
            return [], 0
        raise StateError(
            f"{path}: wanted a journal beginning {_FORMAT!r}, found {raw[: len(_FORMAT)]!r}; "
            "run the release that wrote it, or begin anew with headrace replay --state NEWDIR"
        )
    entries, at = [], len(_FORMAT)
    while (entry := _entry(raw, at)) is not None:
        entries.append(entry)
        at += _HEAD.size + _BODY.size + entry.ranges.nbytes
    later = raw.find(_MARK, at + 1)
    while later >= 0:
        if _entry(raw, later) is not None:
            raise _damaged(path, at)
        later = raw.find(_MARK, later + 1)
    return entries, at


def _entry(raw: bytes, at: int) -> Entry | None:
    """The entry whose record begins here, or None where no whole record does."""
    start = at + _HEAD.size
    if start + _BODY.size > len(raw):
        return None
    mark, size, checksum = _HEAD.unpack_from(raw, at)
    body = raw[start : start + size]
    if mark != _MARK or size < _BODY.size or len(body) < size or zlib.crc32(body) != checksum:
        return None
    sequence, version, digest = _BODY.unpack_from(body)
    ranges = np.frombuffer(body, np.int64, offset=_BODY.size).reshape(-1, 4)
    return Entry(sequence, ranges, version, digest)


def _damaged(path: Path, at: int) -> StateError:
    return StateError(
        f"{path}: wanted whole journal entries, found damage at byte {at} with entries after it; "
        "restore the file, or begin anew with headrace replay --state NEWDIR"
    )


def _gap(path: Path, wanted: int, found: int) -> StateError:
    return StateError(
        f"{path}: wanted the journal entry of batch {wanted}, found that of batch {found}; "
        "restore the missing files, or begin anew with headrace replay --state NEWDIR"
    )
