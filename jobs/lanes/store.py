"""The state of one lane of one operator, as an engine keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol


class Store(Protocol):
    """A durable map of bytes. What was put is there after a restart, as of the last checkpoint."""

    def get(self, key: bytes) -> bytes | None:
        """The value under a key, None if there is none."""

    def put_all(self, entries: Mapping[bytes, bytes]) -> None:
        """Put every value under its key."""

    def remove(self, key: bytes) -> None:
        """Forget a key, whether or not it is there."""

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """All entries in no particular order; the map must not change meanwhile."""


class MemoryStore:
    """A store that lasts as long as its process.

    >>> store = MemoryStore()
    >>> store.put_all({b"a": b"1"})
    >>> store.get(b"a")
    b'1'
    """

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.entries.get(key)

    def put_all(self, entries: Mapping[bytes, bytes]) -> None:
        self.entries.update(entries)

    def remove(self, key: bytes) -> None:
        self.entries.pop(key, None)

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        return list(self.entries.items())
