"""MappedRows: fixed-width rows on disk that a kernel reads and writes as one array.

The file is nothing but the rows: no header, no count. How many of them are valid is said by the
snapshot that speaks of them. A row that was written outlives the process, killed or not, because
its page belongs to the page cache; only `flush` makes it outlive the machine.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.errors import OutputError, StateError

_SMALLEST_STEP = 1 << 20
_LARGEST_STEP = 1 << 26
_BLOCK = 4096
_PIECE = 1 << 16
"""New space is written in pieces of this size: the page cache keeps each as one, and whoever reads
a word maps all of its piece. Left to itself the cache makes pieces of up to 2 MB."""
_ZEROS = memoryview(bytes(_PIECE))
_TAKEN_AT_ONCE = 512
_ALL = slice(None)
_KEEP_SIZE_PUNCH_HOLE = 0x01 | 0x02
_fallocate = getattr(ctypes.CDLL(None), "fallocate", None)
if _fallocate is not None:
    _fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class MappedRows:
    """Rows of `width` int64 or float64 words in one memory-mapped file; their numbers never change.

    Space is reserved on disk before it is mapped, so a full disk is an OutputError from `reserve`
    and never a fault while a kernel writes. Rows that were not there hold zeros. One process
    writes, and only to rows that it has reserved. Raises StateError when the file cannot be opened.

    >>> rows = MappedRows(Path(getfixture("tmp_path")) / "pairs.rows", width=2)
    >>> rows.reserve(1)
    >>> rows.view[0] = 7, 8
    >>> rows.close()
    >>> MappedRows(rows.path, width=2).view[0].tolist()
    [7, 8]
    """

    path: Path
    view: npt.NDArray[Any]
    """(at least the rows reserved, width), written through to the file; `reserve` and `truncate`
    replace it, so take it anew. One taken before `truncate` must not be touched again, and what is
    written to rows that are not reserved yet may be lost."""
    _mapping: mmap.mmap | None

    def __init__(
        self, path: Path, width: int, dtype: type[np.int64 | np.float64] = np.int64
    ) -> None:
        self.path = path
        self._width = width
        self._dtype = np.dtype(dtype)
        self._row_bytes = width * self._dtype.itemsize
        self._forgotten = 0
        self._ahead = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StateError(
                f"{path}: wanted a file to keep rows in, got {error.strerror}; "
                "name a folder that can be written"
            ) from error
        self._map()
        self._ahead = len(self.view) * self._row_bytes

    def __len__(self) -> int:
        """How many rows can be reserved without growing."""
        return len(self.view)

    def reserve(self, rows: int) -> None:
        """Make rows 0 to rows − 1 writable, growing the file by steps of 1 to 64 MB.

        Raises OutputError, with everything as before, when the disk cannot hold them.
        """
        if rows > len(self.view):
            self._grow(rows)
        if rows * self._row_bytes > self._ahead:
            self._write_ahead(rows * self._row_bytes)

    def _grow(self, rows: int) -> None:
        size = len(self.view) * self._row_bytes
        step = min(max(size, _SMALLEST_STEP), _LARGEST_STEP) // self._row_bytes
        wanted = max(rows, len(self.view) + step) * self._row_bytes
        with self._taking(wanted - size):
            try:
                _allocate(self._file, size, wanted - size)
            except OSError:
                os.ftruncate(self._file, size)
                raise
        self._map()

    def _write_ahead(self, stop: int) -> None:
        size = len(self.view) * self._row_bytes
        with self._taking(stop - self._ahead):
            while self._ahead < stop:
                end = min((self._ahead // _PIECE + 1) * _PIECE, size)
                self._ahead += os.pwrite(self._file, _ZEROS[: end - self._ahead], self._ahead)

    @contextmanager
    def _taking(self, count: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self.path}: wanted {count:,} bytes more on disk for rows, "
                f"got {error.strerror}; free that much or move the state folder, then run again"
            ) from error

    def take(self, rows: npt.NDArray[np.int64], columns: slice = _ALL) -> npt.NDArray[Any]:
        """Copy rows (n,), or some of their columns; however scattered they are, few stay mapped."""
        out = np.empty((len(rows), len(range(self._width)[columns])), self._dtype)
        near = len(rows) and int(np.ptp(rows)) * self._row_bytes < _TAKEN_AT_ONCE * _PIECE
        step = len(rows) if near else _TAKEN_AT_ONCE
        for start in range(0, len(rows), step):
            if start:
                self.release()
            at = slice(start, start + step)
            out[at] = self.view[rows[at], columns]
        return out

    def forget(self, before_row: int) -> None:
        """Give the disk space of all rows before this one back; they must not be used again.

        Not even by a snapshot that may still be loaded. Row numbers stay. Where the file system
        cannot do it, the space stays taken.
        """
        stop = min(before_row, len(self.view)) * self._row_bytes // _BLOCK * _BLOCK
        if stop > self._forgotten and _fallocate is not None:
            _fallocate(self._file, _KEEP_SIZE_PUNCH_HOLE, self._forgotten, stop - self._forgotten)
            self._forgotten = stop

    def skip(self, rows: int) -> None:
        """In a file that has none yet, take no space for the first rows; they must not be used."""
        os.ftruncate(self._file, rows * self._row_bytes)
        self._forgotten = rows * self._row_bytes // _BLOCK * _BLOCK
        self._ahead = rows * self._row_bytes
        self._map()

    def release(self) -> None:
        """Let go of the memory, not of the rows: they are read again from page cache or disk."""
        if self._mapping is not None:
            self._mapping.madvise(mmap.MADV_DONTNEED)

    def truncate(self, rows: int) -> None:
        """Cut the file to this many rows, if it has more; what `reserve` adds then is zero."""
        if rows < len(self.view):
            os.ftruncate(self._file, rows * self._row_bytes)
            self._forgotten = min(self._forgotten, rows * self._row_bytes // _BLOCK * _BLOCK)
            self._ahead = min(self._ahead, rows * self._row_bytes)
            self._map()

    def flush(self) -> None:
        """Return when every row is on the disk itself."""
        try:
            if self._mapping is not None:
                self._mapping.flush()
            os.fsync(self._file)
        except OSError as error:
            raise OutputError(
                f"{self.path}: wanted the rows on disk, got {error.strerror}; "
                "check the disk, then run again from the last snapshot"
            ) from error

    def close(self) -> None:
        """Unmap and close; the memory goes with the last view that a caller holds."""
        os.close(self._file)
        self._unmap()

    def _map(self) -> None:
        rows = os.fstat(self._file).st_size // self._row_bytes
        self._unmap()
        if rows:
            self._mapping = mmap.mmap(self._file, rows * self._row_bytes)
            words = np.frombuffer(self._mapping, self._dtype)
            self.view = words.reshape(rows, self._width)

    def _unmap(self) -> None:
        self.view = np.empty((0, self._width), self._dtype)
        self._mapping = None


def _allocate(file: int, start: int, count: int) -> None:
    """Take disk space that reads as zeros, or raise OSError."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, start, count)
        return
    zeros = bytes(_SMALLEST_STEP)
    while count:
        written = os.pwrite(file, zeros[:count], start)
        start, count = start + written, count - written
