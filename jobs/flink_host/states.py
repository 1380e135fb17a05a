"""Flink's keyed state, as the operators' stores; spoken to in Java's own objects.

Flink's Python would make a tuple of a byte array, number by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pyflink.common import Types
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())


class Lanes:
    """Flink's current key, moved from lane to lane: a parcel has rows of several."""

    def __init__(self, context: Any, keys: tuple[str, ...]) -> None:
        from pemja import findClass  # noqa: PLC0415 - there is one only inside Flink's process

        self._backend = context._keyed_state_backend._keyed_state_backend  # noqa: SLF001
        row, self._rows = findClass("org.apache.flink.types.Row"), []
        for key in keys:
            made = row(1)
            made.setField(0, key)
            self._rows.append(made)
        self._places = {key: lane for lane, key in enumerate(keys)}

    def enter(self, lane: int) -> None:
        """Let what states hold be that of this lane, which must be one of the task's own."""
        self._backend.setCurrentKey(self._rows[lane])

    def of(self, key: str) -> int:
        """The lane that Flink knows by a key."""
        return self._places[key]


class FlinkStore:
    """A map state of the current key, as a `jobs.lanes.store.Store`."""

    def __init__(self, context: Any, name: str) -> None:
        described = MapStateDescriptor(name, BYTES, BYTES)
        self._java = context.get_map_state(described)._state  # noqa: SLF001

    def get(self, key: bytes) -> bytes | None:
        found: bytes | None = self._java.get(key)
        return found

    def put_all(self, entries: Mapping[bytes, bytes]) -> None:
        self._java.putAll(entries)

    def remove(self, key: bytes) -> None:
        self._java.remove(key)

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        for entry in self._java.entries():
            yield entry.getKey(), entry.getValue()


class FlinkValue:
    """A value state of the current key, in bytes."""

    def __init__(self, context: Any, name: str) -> None:
        described = ValueStateDescriptor(name, BYTES)
        self._java = context.get_state(described)._state  # noqa: SLF001

    def get(self) -> bytes | None:
        """The value, None if there is none."""
        found: bytes | None = self._java.value()
        return found

    def put(self, value: bytes) -> None:
        """Put another in its place."""
        self._java.update(value)
