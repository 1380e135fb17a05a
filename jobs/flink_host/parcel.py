"""What Flink carries between our operators: a head that says where to, and rows as bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from jobs.lanes.lanes import Int64s, runs
from jobs.lanes.rows import Admitted, Arrivals

R = TypeVar("R", Arrivals, Admitted)
_HEAD = struct.Struct("<iiq")
BODY = _HEAD.size


class Address(NamedTuple):
    """A lane, the key that Flink knows it by, and the time in the head."""

    key: int
    lane: int
    time_us: int


def parcel(key: int, lane: int, time_us: int, body: bytes = b"") -> bytes:
    """A parcel for a lane."""
    return _HEAD.pack(key, lane, time_us) + body


def key_of(raw: bytes) -> int:
    """Flink's key of a parcel."""
    return int.from_bytes(raw[:4], "little", signed=True)


def address_of(raw: bytes) -> Address:
    """The head of a parcel."""
    return Address(*_HEAD.unpack_from(raw))


def parcels(rows: R, lanes: Int64s, keys: tuple[int, ...], time_us: int) -> Iterator[bytes]:
    """One parcel a lane that has rows; `keys` are Flink's keys of the lanes."""
    if not len(rows):
        return
    first = int(lanes[0])
    if (lanes == first).all():
        yield parcel(keys[first], first, time_us, rows.pack())
        return
    order, found = runs(lanes)
    sorted_ = rows.take(order)
    for lane, start, stop in found:
        yield parcel(keys[lane], lane, time_us, sorted_[start:stop].pack())
