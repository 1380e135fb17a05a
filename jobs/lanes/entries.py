"""The entries of a store in a file: how a lane's state goes from one engine to another."""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from streams.atomic import write_whole
from streams.errors import StateError

_FORMAT = b"headrace entries 1\n"
_HEAD = struct.Struct("<II")
_TAIL = struct.Struct("<QI")


def file_of(folder: Path, name: str, lane: int) -> Path:
    """Where the entries of a store of a lane lie."""
    return folder / f"{name}-{lane:05d}.entries"


def write_entries(path: Path, entries: Iterable[tuple[bytes, bytes]]) -> None:
    """Write entries to a file, which is there whole or not at all.

    >>> path = Path(getfixture("tmp_path")) / "entries"
    >>> write_entries(path, [(b"a", b"1"), (b"b", b"")])
    >>> list(read_entries(path))
    [(b'a', b'1'), (b'b', b'')]
    """
    write_whole(path, _pieces(entries), fsync=True)


def _pieces(entries: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    yield _FORMAT
    count = checksum = 0
    for key, value in entries:
        piece = _HEAD.pack(len(key), len(value)) + key + value
        count, checksum = count + 1, zlib.crc32(piece, checksum)
        yield piece
    yield _TAIL.pack(count, checksum)


def read_entries(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a file, which was looked through first.

    Raises StateError where it is missing, damaged or of another format.
    """
    try:
        with path.open("rb") as file:
            raw = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise StateError(
            f"{path}: cannot be read ({error}); can every machine of the cluster read this folder?"
        ) from error
    stop = len(raw) - _TAIL.size
    if bytes(raw[: len(_FORMAT)]) != _FORMAT:
        raise StateError(f"{path}: wanted a file beginning {_FORMAT!r}; export the state again")
    count, checksum = _TAIL.unpack(raw[max(stop, 0) :][: _TAIL.size])
    if zlib.crc32(raw[len(_FORMAT) : stop]) != checksum:
        raise StateError(f"{path}: differs from its checksum; export the state again")
    at = len(_FORMAT)
    for _ in range(count):
        key, value = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        yield bytes(raw[at : at + key]), bytes(raw[at + key : at + key + value])
        at += key + value
