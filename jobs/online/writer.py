"""The process that writes lines: makes JSON of columns and sends it to Redis, some keys a call.

    python -P -m jobs.online.writer

It is a process since what it does would hold the interpreter in which events are scored. It keeps
nothing: it writes what it is given on standard input, says on standard output how far it came, and
ends with its input. Imports are few, so that it is there at once and small.
"""

from __future__ import annotations

import os
import signal
import sys
from io import BufferedRWPair
from itertools import pairwise
from typing import BinaryIO, TypeAlias

import msgspec

from jobs.online.layout import WRITE_NEWER, encode
from streams.errors import OutputError
from streams.redis import Address, Connection

KEYS_A_CALL = 64
"""The server does nothing else during a call: about half a millisecond."""
NICENESS = 10
_LENGTH_BYTES = 4
Pipe: TypeAlias = BinaryIO | BufferedRWPair


class Chunk(msgspec.Struct, frozen=True):
    """n lines of one entity as columns, each the bytes of an array; lengths in bytes."""

    prefix: bytes
    keep_ms: int
    names: tuple[str, ...]
    """The F features."""
    key_ends: bytes
    """(n,) int64, where in `keys` each ends."""
    keys: bytes
    id_ends: bytes
    ids: bytes
    time: bytes
    """(n,) int64."""
    tie: bytes
    """(n,) int64."""
    score: bytes
    """(n,) float64."""
    review: bytes
    """(n,) bool."""
    version: bytes
    """(n,) int64."""
    features: bytes
    """(n, F) float64."""


class Written(msgspec.Struct, frozen=True):
    """How far a chunk came."""

    lines: int
    """The first so many were taken by the server."""
    newer: int
    """So many of them were not older than what it had."""
    trouble: str = ""
    """Why not all of them were."""


def write(connection: Connection, chunk: Chunk) -> Written:
    """Write the lines of a chunk in their order; on failure, those up to it."""
    keys = [chunk.prefix + key for key in _cut(chunk.keys, chunk.key_ends)]
    width, features = len(chunk.names), memoryview(chunk.features).cast("d").tolist()
    lines = encode(
        chunk.names,
        [each.decode() for each in _cut(chunk.ids, chunk.id_ends)],
        memoryview(chunk.time).cast("q"),
        memoryview(chunk.tie).cast("q"),
        memoryview(chunk.score).cast("d"),
        memoryview(chunk.review),
        memoryview(chunk.version).cast("q"),
        [features[start : start + width] for start in range(0, len(features), width)],
    )
    keep = b"%d" % chunk.keep_ms
    newer = 0
    for start in range(0, len(keys), KEYS_A_CALL):
        some = slice(start, start + KEYS_A_CALL)
        try:
            newer += connection.call(WRITE_NEWER, keys[some], [keep, *lines[some]])
        except OutputError as error:
            return Written(start, newer, str(error))
    return Written(len(keys), newer)


def receive(file: Pipe) -> bytes | None:
    """The next message, or None at the end."""
    length = file.read(_LENGTH_BYTES)
    if len(length) < _LENGTH_BYTES:
        return None
    message = file.read(int.from_bytes(length, "little"))
    return message or None


def send(file: Pipe, message: bytes) -> None:
    """Hand a message over."""
    file.write(len(message).to_bytes(_LENGTH_BYTES, "little") + message)
    file.flush()


def _cut(content: bytes, ends: bytes) -> list[bytes]:
    return [content[a:b] for a, b in pairwise([0, *memoryview(ends).cast("q").tolist()])]


def main() -> None:
    """Write chunks until there are no more; the first message is the server's address."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # whoever started it says when to end
    os.nice(NICENESS)
    url = receive(sys.stdin.buffer)
    if url is None:
        return
    connection = Connection(Address.parse(url.decode()), OutputError)
    while (message := receive(sys.stdin.buffer)) is not None:
        written = write(connection, msgspec.msgpack.decode(message, type=Chunk))
        send(sys.stdout.buffer, msgspec.msgpack.encode(written))
    connection.close()


if __name__ == "__main__":
    main()
