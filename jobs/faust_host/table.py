"""What a lane keeps: a partition of a Faust table, changed by whole commits.

A changelog takes records one by one, and a worker may die between two of them. So a commit writes
down all its changes first, then that they are whole, then the changes themselves: whoever reads
the changelog later does those of the last whole commit again, which changes nothing where they had
all been done. The local copy, in RocksDB, is written when the changelog has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import msgspec

Changes = dict[bytes, bytes | None]
"""New values by key, None for one that is forgotten."""
Records = list[tuple[bytes, bytes | None]]
_CHUNK, _WHOLE = b"\x00c", b"\x00w"
CHUNK_BYTES = 500_000


class Copy(Protocol):
    """The local copy of a partition of the changelog."""

    def get(self, key: bytes) -> bytes | None:
        """The value under a key, None if there is none."""

    def items(self, first: bytes) -> Iterable[tuple[bytes, bytes]]:
        """All entries from this key on, in order."""

    def write(self, records: Records, offset: int) -> None:
        """Take over records of the changelog, the last of which is at this offset."""


class RocksCopy:
    """The copy that Faust's store keeps in RocksDB.

    It is asked for each time: the store closes a copy by letting go of it.
    """

    def __init__(self, store: Any, partition: int) -> None:
        self._store, self._partition = store, partition

    @property
    def _copy(self) -> Any:
        # What the store offers to all goes by the event that is at work, of which there is none.
        return self._store._db_for_partition(self._partition)  # noqa: SLF001

    def get(self, key: bytes) -> bytes | None:
        found: bytes | None = self._copy.get(key)
        return found

    def items(self, first: bytes) -> Iterable[tuple[bytes, bytes]]:
        found: Iterable[tuple[bytes, bytes]] = self._copy.items(from_key=first)
        return found

    def write(self, records: Records, offset: int) -> None:
        from rocksdict import WriteBatch  # noqa: PLC0415 - an optional extra

        batch = WriteBatch(raw_mode=True)
        for key, value in records:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(self._store.offset_key, b"%d" % offset)
        self._copy.write(batch)


class LaneTable:
    """The entries of one lane."""

    def __init__(self, copy: Copy) -> None:
        self._copy = copy
        self._fresh: Changes = {}
        self._leaving: Changes = {}
        self._commits = 0
        if whole := copy.get(_WHOLE):
            self._commits, count = msgspec.msgpack.decode(whole)
            chunks = [msgspec.msgpack.decode(copy.get(_chunk(n)) or b"") for n in range(count)]
            if all(commit == self._commits for commit, _ in chunks):
                self._fresh = {key: value for _, changes in chunks for key, value in changes}

    def get(self, key: bytes) -> bytes | None:
        """The value under a key, None if there is none."""
        for changes in (self._fresh, self._leaving):
            if key in changes:
                return changes[key]
        return self._copy.get(key)

    def change(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Put values, or forget keys, with the next commit."""
        self._fresh.update(changes)

    def items(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All entries whose key begins so; nothing must be changed meanwhile."""
        changes = self._leaving | self._fresh
        for key, kept in self._copy.items(prefix):
            if not key.startswith(prefix):
                break
            if key not in changes:
                yield key, kept
        for key, value in changes.items():
            if value is not None and key.startswith(prefix):
                yield key, value

    def begin(self) -> Records:
        """Begin a commit of all changes: the records for the changelog, in this order."""
        self._leaving, self._fresh = self._fresh, {}
        if not self._leaving:
            return []
        self._commits += 1
        chunks = [
            (_chunk(n), msgspec.msgpack.encode((self._commits, changes)))
            for n, changes in enumerate(_chunks(self._leaving))
        ]
        whole = msgspec.msgpack.encode((self._commits, len(chunks)))
        return [*chunks, (_WHOLE, whole), *self._leaving.items()]

    def end(self, records: Records, offset: int) -> None:
        """The changelog has the records that `begin` gave, the last at this offset."""
        self._copy.write(records, offset)
        self._leaving = {}


class Part:
    """Those entries of a lane whose keys begin so, as a `jobs.lanes.store.Store`."""

    def __init__(self, table: LaneTable, prefix: bytes) -> None:
        self._table, self._prefix = table, prefix

    def get(self, key: bytes) -> bytes | None:
        return self._table.get(self._prefix + key)

    def put_all(self, entries: Mapping[bytes, bytes]) -> None:
        prefix = self._prefix
        self._table.change({prefix + key: value for key, value in entries.items()})

    def remove(self, key: bytes) -> None:
        self._table.change({self._prefix + key: None})

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        cut = len(self._prefix)
        return [(key[cut:], value) for key, value in self._table.items(self._prefix)]


def _chunk(number: int) -> bytes:
    return _CHUNK + number.to_bytes(4, "big")


def _chunks(changes: Changes) -> Iterator[Records]:
    """The changes in pieces of about CHUNK_BYTES."""
    piece: Records = []
    size = 0
    for key, value in changes.items():
        piece.append((key, value))
        size += len(key) + len(value or b"")
        if size > CHUNK_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
