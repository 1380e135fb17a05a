"""What travels through the repartition topics: a head that says where from, and rows as bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from jobs.lanes.held import NEVER
from jobs.lanes.lanes import Int64s, runs
from jobs.lanes.rows import Admitted, Arrivals

_HEAD = struct.Struct("<iiqq")
BODY = _HEAD.size
ROWS = 2048
"""Of one parcel, at most: while one is worked on, its worker does nothing else."""
PARTS = 1 << 16
"""More parcels than one can lead to."""


class Head(NamedTuple):
    """Where a parcel is from, and when."""

    lane: int
    idle: bool
    """Whether that lane has nothing to read, so that time does not wait for it."""
    number: int
    """Parcels of a lane come in the order of their numbers. What comes again has the same."""
    time_us: int
    """How far time is in that lane, with the rows of this parcel; NEVER where it says nothing."""


def head_of(raw: bytes) -> Head:
    """The head of a parcel."""
    lane, idle, number, time_us = _HEAD.unpack_from(raw)
    return Head(lane, bool(idle), number, time_us)


def parcels(
    rows: Arrivals | Admitted | None, lanes: Int64s | None, head: Head, tell: Iterable[int] = ()
) -> Iterator[tuple[int, bytes]]:
    """Rows on their way to the lanes that are theirs, and the time of the head to those in `tell`.

    Its time is in the last parcel to each.
    """
    told = set(tell)
    if rows is not None and lanes is not None and len(rows):
        order, found = runs(lanes)
        sorted_ = rows if (lanes == lanes[0]).all() else rows.take(order)
        for lane, start, stop in found:
            for part, first in enumerate(range(start, stop, ROWS)):
                last = first + ROWS >= stop
                time_us = head.time_us if last else NEVER
                mine = head._replace(number=head.number + part, time_us=time_us)
                body = sorted_[first : min(first + ROWS, stop)].pack()
                yield lane, _HEAD.pack(*mine) + body
            told.discard(lane)
    for lane in told:
        yield lane, _HEAD.pack(*head)
