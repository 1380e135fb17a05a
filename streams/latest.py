"""The newest line of each key among all that wait to be written: memory by keys, not by events."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_SLACK = 4096
"""Rows that may wait beside twice the keys before older ones are dropped."""


@dataclass(frozen=True, slots=True)
class Lines:
    """n lines, one for the key of an event each: what is known of the key as of that event."""

    key: Int64s
    """(n, 2) the key's ident."""
    time: Int64s
    """(n,) event time, microseconds UTC."""
    tie: Int64s
    """(n,) the low word of the event's ident: it decides between events of the same time."""
    since: Floats
    """(n,) by some clock, since when this key's line has not been written."""
    score: Floats
    """(n,)."""
    review: npt.NDArray[np.bool_]
    """(n,) whether the decision is review."""
    version: Int64s
    """(n,) the model version that scored."""
    features: Floats
    """(n, F)."""
    texts: tuple[pa.Array, pa.Array]
    """The key and the event's id, large_string."""

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, rows: slice) -> Lines:
        """A run of lines, without copying."""
        start, stop, _ = rows.indices(len(self))
        return self._each(lambda a: a[start:stop], lambda t: t.slice(start, stop - start))

    def newest(self) -> Lines:
        """One line for each key: its last by (time, tie), of equal ones the one that stands last.
        At least one line is wanted.

        It has waited since the first of its key has.
        """
        order = np.lexsort((self.tie, self.time, self.key[:, 1], self.key[:, 0]))
        key = self.key[order]
        last = np.ones(len(order), np.bool_)
        last[:-1] = (key[1:] != key[:-1]).any(axis=1)
        rows = order[last]
        firsts = np.flatnonzero(np.concatenate([[True], last[:-1]]))
        since = np.minimum.reduceat(self.since[order], firsts)
        places = pa.array(rows)
        lines = self._each(lambda a: a[rows], lambda t: t.take(places))
        lines.since[:] = since
        return lines

    def _each(self, column: Callable[[Any], Any], text: Callable[[pa.Array], pa.Array]) -> Lines:
        values = {each.name: column(getattr(self, each.name)) for each in fields(self)[:-1]}
        key, event = self.texts
        return Lines(**values, texts=(text(key), text(event)))

    @staticmethod
    def concat(parts: Sequence[Lines]) -> Lines:
        """The lines of all parts, one after the other; at least one part."""
        if len(parts) == 1:
            return parts[0]
        values = {
            each.name: np.concatenate([getattr(part, each.name) for part in parts])
            for each in fields(Lines)[:-1]
        }
        keys, events = zip(*(part.texts for part in parts), strict=True)
        return Lines(**values, texts=(pa.concat_arrays(keys), pa.concat_arrays(events)))


class Latest:
    """Lines that wait. What is kept is at most twice as many as there are keys, and a few thousand.

    >>> latest = Latest()
    >>> latest.take() is None
    True
    """

    def __init__(self) -> None:
        self._parts: list[Lines] = []
        self._kept = 0
        self._rows = 0
        self.since = math.inf
        """Since when the line that has waited longest does; infinite when none waits."""
        self.superseded = 0
        """Lines dropped for a newer one of their key."""

    def __len__(self) -> int:
        return self._rows

    def add(self, lines: Lines) -> None:
        """Let these wait too, after those that wait."""
        self._take_in(lines, len(self._parts))

    def give_back(self, lines: Lines) -> None:
        """Let these wait as if they had never been taken, before all that came since."""
        self._take_in(lines, 0)

    def take(self) -> Lines | None:
        """The newest line of every key that waits, none of which waits any longer."""
        if not self._rows:
            return None
        self._drop_older()
        taken = self._parts.pop()
        self._kept = self._rows = 0
        self.since = math.inf
        return taken

    def _take_in(self, lines: Lines, place: int) -> None:
        if not len(lines):
            return
        self._parts.insert(place, lines)
        self._rows += len(lines)
        self.since = min(self.since, float(lines.since.min()))
        if self._rows > 2 * self._kept + _SLACK:
            self._drop_older()

    def _drop_older(self) -> None:
        lines = Lines.concat(self._parts).newest()
        self.superseded += self._rows - len(lines)
        self._parts = [lines]
        self._kept = self._rows = len(lines)
