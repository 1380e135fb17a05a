"""Several inputs in one order: by the time the broker appended each record."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.broker import Headers, Run
from streams.errors import StateError
from streams.payloads import Payloads

Int64s = npt.NDArray[np.int64]
_NONE = -(2**62)


@dataclass(slots=True)
class Taken:
    """n records in the order they are to be processed."""

    inputs: Int64s
    """(n,) the place of each one's input."""
    offsets: Int64s
    stamps: Int64s
    values: Payloads
    headers: list[Headers | None] | None
    """None if none has any."""

    def __len__(self) -> int:
        return len(self.offsets)

    def rows(self, wanted: Int64s | slice) -> Taken:
        """Some of them."""
        headers = self.headers
        if isinstance(wanted, slice):
            headers = headers and headers[wanted]
        else:
            headers = headers and [headers[row] for row in wanted.tolist()]
        return Taken(
            self.inputs[wanted],
            self.offsets[wanted],
            self.stamps[wanted],
            self.values.take(wanted),
            headers,
        )

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


class _Buffer:
    """What waits of one input."""

    def __init__(self) -> None:
        self._runs: deque[Taken] = deque()
        self._newest = _NONE
        self.count = 0

    @property
    def last(self) -> int:
        """The stamp of the last record that waits."""
        return int(self._runs[-1].stamps[-1]) if self._runs else _NONE

    def push(self, run: Run) -> None:
        stamps = np.maximum(np.maximum.accumulate(run.stamps), self._newest)
        self._newest = int(stamps[-1])
        inputs = np.full(len(run), run.input, np.int64)
        self._runs.append(Taken(inputs, run.offsets, stamps, run.values, run.headers))
        self.count += len(run)

    def until(self, stamp: int, *, through: bool, limit: int) -> int:
        """How many records come before a stamp, or at it too; `limit` if it is that many."""
        count = 0
        for run in self._runs:
            found = int(np.searchsorted(run.stamps, stamp, "right" if through else "left"))
            count += found
            if found < len(run) or count >= limit:
                break
        return min(count, limit)

    def first(self, count: int) -> Int64s:
        """The stamps of the first records."""
        parts, wanted = [], count
        for run in self._runs:
            parts.append(run.stamps[:wanted])
            wanted -= len(parts[-1])
            if not wanted:
                break
        return np.concatenate(parts)

    def cut(self, count: int) -> Taken:
        """Remove and return the first records."""
        parts = []
        self.count -= count
        while count:
            run = self._runs.popleft()
            if len(run) > count:
                self._runs.appendleft(run.rows(slice(count, None)))
                run = run.rows(slice(count))
            parts.append(run)
            count -= len(run)
        return _joined(parts)


class Merge:
    """Merges the inputs of a consumer. `ranks`: of equal stamps, the input of lower rank is first.

    A record is let go once no input that is known to hold unread records may have an earlier one;
    an input that is read to its end is not waited for. So an input is never far ahead of another
    when both hold a past to catch up with, and nothing waits when they do not. Stamps that go back
    within an input count as the largest before them.

    >>> merge = Merge(ranks=[1, 0])
    >>> a, b, c = (Payloads.of([each]) for each in (b"a", b"b", b"c"))
    >>> merge.push(Run(0, np.array([7]), np.array([100]), a, a))
    >>> merge.push(Run(0, np.array([8]), np.array([300]), c, c))
    >>> merge.push(Run(1, np.array([3]), np.array([200]), b, b))
    >>> list(merge.take(10, unread=[False, True]).values)
    [b'a', b'b']
    """

    def __init__(self, ranks: Sequence[int]) -> None:
        self._ranks = np.array(ranks, np.int64)
        self._buffers = [_Buffer() for _ in ranks]

    def push(self, run: Run) -> None:
        """Take over the next records of an input."""
        self._buffers[run.input].push(run)

    def held(self, input: int) -> int:
        """How many records of an input wait here."""
        return self._buffers[input].count

    def take(self, limit: int, unread: Sequence[bool]) -> Taken:
        """At most `limit` records in order; `unread` says which inputs hold more than is here."""
        ranks = self._ranks.tolist()
        bound = min(
            (
                (buffer.last, rank)
                for buffer, rank, more in zip(self._buffers, ranks, unread, strict=True)
                if more
            ),
            default=None,
        )
        # The order is by stamp first, so no more than `limit` of any input can be among the first.
        counts = [
            min(each.count, limit)
            if bound is None
            else each.until(bound[0], through=rank <= bound[1], limit=limit)
            for each, rank in zip(self._buffers, ranks, strict=True)
        ]
        having = [place for place, count in enumerate(counts) if count]
        if len(having) == 1:
            return self._buffers[having[0]].cut(counts[having[0]])
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
            part = self._buffers[place].cut(count)
            if (int(part.offsets[0]), int(part.offsets[-1])) != (first, last):
                raise StateError(
                    f"journal: wanted records {first} to {last} of input {place}, found "
                    f"{part.offsets[0]} to {part.offsets[-1]}: the topic is not the one that was "
                    "read before; begin with a new state folder"
                )
            parts.append(part)
        return _joined(parts)

    def _cut_many(self, having: list[int], counts: list[int], limit: int) -> Taken:
        if not having:
            return _joined([])
        # In this order of inputs a stable sort by stamps alone is one by rank and place too.
        having.sort(key=lambda place: (self._ranks[place], place))
        stamps = np.concatenate([self._buffers[place].first(counts[place]) for place in having])
        sizes = [counts[place] for place in having]
        inputs = np.repeat(np.array(having, np.int64), sizes)
        order = np.argsort(stamps, kind="stable")[:limit]
        taken = np.bincount(inputs[order], minlength=len(self._buffers))
        whole = _joined([self._buffers[place].cut(int(taken[place])) for place in having])
        # What was cut lies input after input; `order` visits each input's records in their order.
        shift = np.zeros(len(self._buffers), np.int64)
        shift[having] = np.cumsum([0, *taken[having][:-1]]) - np.cumsum([0, *sizes[:-1]])
        return whole.rows(order + shift[inputs[order]])


def _joined(parts: Sequence[Taken]) -> Taken:
    if len(parts) == 1:
        return parts[0]
    none = [np.empty(0, np.int64)]
    headers: list[Headers | None] | None = None
    if any(part.headers for part in parts):
        headers = [each for part in parts for each in part.headers or [None] * len(part)]
    return Taken(
        np.concatenate([*none, *(part.inputs for part in parts)]),
        np.concatenate([*none, *(part.offsets for part in parts)]),
        np.concatenate([*none, *(part.stamps for part in parts)]),
        Payloads.concat([part.values for part in parts]),
        headers,
    )
