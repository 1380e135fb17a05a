"""What Flink carries between our operators: a head that says where to, and rows as bytes.

A parcel goes to a task, by the key of the first lane that it owns, and holds rows of all its lanes.
So a batch stays a batch, however many lanes there are. That a parcel is for the tasks of today does
no harm: none is ever part of a checkpoint.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from jobs.lanes.lanes import Int64s, first_lane, runs, tasks_of
from jobs.lanes.rows import Admitted, Arrivals

_HEAD = struct.Struct("<iiiq")
BODY = _HEAD.size
NOBODY = -1
KEEP = -(2**62) - 1
"""The time of a head that has every operator write what it knows into its state."""


class Address(NamedTuple):
    """The lane by which a parcel finds its task, who read and sent the rows, and a time."""

    lane: int
    reader: int
    sender: int
    """The task that sent it; NOBODY where there is nothing but a head."""
    time_us: int


def nothing_but(lane: int, reader: int, time_us: int, sender: int = NOBODY) -> bytes:
    """A head, to the task that owns a lane."""
    return _HEAD.pack(lane, reader, sender, time_us)


def address_of(raw: bytes) -> Address:
    """The head of a parcel."""
    return Address(*_HEAD.unpack_from(raw))


def parcels(
    rows: Arrivals | Admitted, lanes: Int64s, count: int, tasks: int, head: Address
) -> Iterator[tuple[int, bytes]]:
    """For each task that owns one of the rows' lanes, of `count` lanes, its number and a parcel."""
    if not len(rows):
        return
    if tasks == 1:
        yield 0, _HEAD.pack(*head._replace(lane=0)) + rows.pack()
        return
    order, found = runs(tasks_of(lanes, count, tasks))
    sorted_ = rows.take(order)
    for task, start, stop in found:
        lane = first_lane(task, count, tasks)
        yield task, _HEAD.pack(*head._replace(lane=lane)) + sorted_[start:stop].pack()
