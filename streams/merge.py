"""Several inputs in one order: by the time the broker appended each record."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from streams.broker import Headers, Run
from streams.errors import StateError

Int64s = npt.NDArray[np.int64]
_FIELDS = ("offsets", "stamps", "values", "headers")
_NONE = -(2**62)


@dataclass(slots=True)
class Taken:
    """n records in the order they are to be processed."""

    inputs: Int64s
    """(n,) the place of each one's input."""
    offsets: Int64s
    stamps: Int64s
    values: list[bytes | None]
    headers: list[Headers | None]

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def ranges(self) -> Int64s:
        """(r, 4) runs of one input: input, first offset, last offset, records."""
        if not len(self):
            return np.empty((0, 4), np.int64)
        first = int(self.inputs[0])
        if np.count_nonzero(self.inputs == first) == len(self):
            ends = int(self.offsets[0]), int(self.offsets[-1])
            return np.array([[first, *ends, len(self)]], np.int64)
        starts = np.flatnonzero(np.diff(self.inputs, prepend=-1))
        stops = np.append(starts[1:], len(self))
        columns = (self.inputs[starts], self.offsets[starts], self.offsets[stops - 1])
        return np.column_stack([*columns, stops - starts])


@dataclass(slots=True)
class _Buffer:
    offsets: list[int] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    headers: list[Headers | None] = field(default_factory=list)
    newest: int = _NONE

    def cut(self, count: int) -> list[list[object]]:
        """Remove and return the first records, column by column."""
        columns = [getattr(self, name) for name in _FIELDS]
        taken = [column[:count] for column in columns]
        for column in columns:
            del column[:count]
        return taken


class Merge:
    """Merges the inputs of a consumer. `ranks`: of equal stamps, the input of lower rank is first.

    A record is let go once no input that is known to hold unread records may have an earlier one;
    an input that is read to its end is not waited for. So an input is never far ahead of another
    when both hold a past to catch up with, and nothing waits when they do not. Stamps that go back
    within an input count as the largest before them.

    >>> merge = Merge(ranks=[1, 0])
    >>> merge.push(Run(0, [7, 8], [100, 300], [None] * 2, [b"a", b"c"], [None] * 2))
    >>> merge.push(Run(1, [3], [200], [None], [b"b"], [None]))
    >>> merge.take(10, unread=[False, True]).values
    [b'a', b'b']
    """

    def __init__(self, ranks: Sequence[int]) -> None:
        self._ranks = np.array(ranks, np.int64)
        self._buffers = [_Buffer() for _ in ranks]

    def push(self, run: Run) -> None:
        """Take over the next records of an input."""
        buffer = self._buffers[run.input]
        stamps = run.stamps
        if stamps[0] < buffer.newest or stamps != sorted(stamps):
            stamps = list(accumulate([buffer.newest, *stamps], max))[1:]
        buffer.newest = stamps[-1]
        buffer.offsets += run.offsets
        buffer.stamps += stamps
        buffer.values += run.values
        buffer.headers += run.headers

    def held(self, input: int) -> int:
        """How many records of an input wait here."""
        return len(self._buffers[input].offsets)

    def take(self, limit: int, unread: Sequence[bool]) -> Taken:
        """At most `limit` records in order; `unread` says which inputs hold more than is here."""
        ranks = self._ranks.tolist()
        bound = min(
            (
                (buffer.stamps[-1] if buffer.stamps else _NONE, rank)
                for buffer, rank, more in zip(self._buffers, ranks, unread, strict=True)
                if more
            ),
            default=None,
        )
        counts = [
            _until(each.stamps, rank, bound)
            for each, rank in zip(self._buffers, ranks, strict=True)
        ]
        having = [place for place, count in enumerate(counts) if count]
        if len(having) == 1:
            return self._cut_one(having[0], min(limit, counts[having[0]]))
        return self._cut_many(having, counts, limit)

    def exactly(self, ranges: Int64s) -> Taken | None:
        """The records of these ranges, as `Taken.ranges` once gave them; None until all are here.

        Raises StateError if an input holds something else there.
        """
        wanted = np.zeros(len(self._buffers), np.int64)
        for place, _, _, count in ranges.tolist():
            wanted[place] += count
        if any(self.held(place) < count for place, count in enumerate(wanted.tolist())):
            return None
        parts = []
        for place, first, last, count in ranges.tolist():
            part = self._cut_one(place, count)
            if (int(part.offsets[0]), int(part.offsets[-1])) != (first, last):
                raise StateError(
                    f"journal: wanted records {first} to {last} of input {place}, found "
                    f"{part.offsets[0]} to {part.offsets[-1]}: the topic is not the one that was "
                    "read before; begin with a new state folder"
                )
            parts.append(part)
        return _joined(parts)

    def _cut_one(self, place: int, count: int) -> Taken:
        offsets, stamps, *rest = self._buffers[place].cut(count)
        inputs = np.full(count, place, np.int64)
        return Taken(inputs, np.array(offsets, np.int64), np.array(stamps, np.int64), *rest)  # type: ignore[arg-type]

    def _cut_many(self, having: list[int], counts: list[int], limit: int) -> Taken:
        if not having:
            return _joined([])
        # The order is by stamp first, so no more than `limit` of any input can be among the first.
        sizes = [min(counts[place], limit) for place in having]
        stamps = np.concatenate(
            [
                np.array(self._buffers[place].stamps[:size], np.int64)
                for place, size in zip(having, sizes, strict=True)
            ]
        )
        inputs = np.repeat(np.array(having, np.int64), sizes)
        order = np.lexsort((inputs, self._ranks[inputs], stamps))[:limit]
        taken = np.bincount(inputs[order], minlength=len(self._buffers)).tolist()
        whole = _joined([self._cut_one(place, taken[place]) for place in having])
        # What was cut lies input after input; `order` visits each input's records in their order.
        starts = np.concatenate([[0], np.cumsum([taken[place] for place in having])])
        first = {place: int(start) for place, start in zip(having, starts, strict=False)}
        before = {place: int(at) for place, at in zip(having, np.cumsum([0, *sizes]), strict=False)}
        shift = np.array([first.get(p, 0) - before.get(p, 0) for p in range(len(self._buffers))])
        places = order + shift[inputs[order]]
        rows = places.tolist()
        return Taken(
            whole.inputs[places],
            whole.offsets[places],
            whole.stamps[places],
            [whole.values[row] for row in rows],
            [whole.headers[row] for row in rows],
        )


def _until(stamps: list[int], rank: int, bound: tuple[int, int] | None) -> int:
    """How many records of an input of this rank come no later than a stamp at a rank."""
    if bound is None:
        return len(stamps)
    return (bisect_right if rank <= bound[1] else bisect_left)(stamps, bound[0])


def _joined(parts: Sequence[Taken]) -> Taken:
    if len(parts) == 1:
        return parts[0]
    none = [np.empty(0, np.int64)]
    return Taken(
        np.concatenate([*none, *(part.inputs for part in parts)]),
        np.concatenate([*none, *(part.offsets for part in parts)]),
        np.concatenate([*none, *(part.stamps for part in parts)]),
        [value for part in parts for value in part.values],
        [headers for part in parts for headers in part.headers],
    )
