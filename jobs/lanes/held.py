"""Strict order in a lane: rows wait in its store until the watermark has passed them."""

from __future__ import annotations

import struct
from typing import Generic, TypeVar

import numpy as np

from jobs.lanes.rows import Admitted, Arrivals
from jobs.lanes.store import Store

R = TypeVar("R", Arrivals, Admitted)
_PART = struct.Struct(">q")
_RELEASED = b"released"
NEVER = -(2**62)


class Held(Generic[R]):
    """The rows of a lane that wait, in memory and, as they came, in the store.

    What comes after the watermark has passed it is late, and does not wait.
    """

    def __init__(self, kind: type[R], store: Store) -> None:
        self._store = store
        self._parts: dict[int, R] = {}
        self._next = 0
        self._released = NEVER
        for key, raw in store.items():
            if key == _RELEASED:
                (self._released,) = _PART.unpack(raw)
            else:
                self._parts[_PART.unpack(key)[0]] = kind.unpack(raw)
        self._next = max(self._parts, default=-1) + 1
        for number, part in list(self._parts.items()):
            self._shorten(number, part)

    @property
    def earliest_us(self) -> int | None:
        """The time of the first row that waits, None if none does."""
        return min((int(part.time.min()) for part in self._parts.values()), default=None)

    @property
    def parts(self) -> list[R]:
        """All rows that wait, in parts."""
        return list(self._parts.values())

    def push(self, rows: R, before_us: int) -> R | None:
        """Let rows wait, but for those before this time: they are given back."""
        late = rows.time < before_us
        waiting = rows.take(np.flatnonzero(~late)) if late.any() else rows
        if len(waiting):
            self._parts[self._next] = waiting
            self._store.put_all({_PART.pack(self._next): waiting.pack()})
            self._next += 1
        return rows.take(np.flatnonzero(late)) if late.any() else None

    def release(self, before_us: int) -> R | None:
        """The rows before this time, in strict order; None if there are none."""
        ready = []
        for part in self._parts.values():
            early = part.time < before_us
            if early.any():
                ready.append(part.take(np.flatnonzero(early)))
        if not ready:
            return None
        self._released = max(self._released, before_us)
        self._store.put_all({_RELEASED: _PART.pack(self._released)})
        for number, part in list(self._parts.items()):
            self._shorten(number, part)
        rows = type(ready[0]).concat(ready)
        return rows.take(rows.order())

    def _shorten(self, number: int, part: R) -> None:
        """Keep of a part what was not released yet."""
        left = part.time >= self._released
        if not left.any():
            del self._parts[number]
            self._store.remove(_PART.pack(number))
        elif not left.all():
            self._parts[number] = part.take(np.flatnonzero(left))
