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

_HEAD = struct.Struct("<iiq")
BODY = _HEAD.size


class Address(NamedTuple):
    """The lane by which a parcel finds its task, who read the rows, and the time in the head."""

    lane: int
    reader: int
    time_us: int


def parcel(lane: int, reader: int, time_us: int, body: bytes = b"") -> bytes:
    """A parcel for the task that owns a lane."""
    return _HEAD.pack(lane, reader, time_us) + body


def address_of(raw: bytes) -> Address:
    """The head of a parcel."""
    return Address(*_HEAD.unpack_from(raw))


def parcels(
    rows: Arrivals | Admitted, lanes: Int64s, count: int, tasks: int, reader: int, time_us: int
) -> Iterator[bytes]:
    """A parcel for each task that owns one of the rows' lanes, of `count` lanes."""
    if not len(rows):
        return
    if tasks == 1:
        yield parcel(0, reader, time_us, rows.pack())
        return
    order, found = runs(tasks_of(lanes, count, tasks))
    sorted_ = rows.take(order)
    for task, start, stop in found:
        lane = first_lane(task, count, tasks)
        yield parcel(lane, reader, time_us, sorted_[start:stop].pack())
