"""What a job hands to its sinks: records of topics, as Flink's rows."""

from __future__ import annotations

from pyflink.common import Types

from jobs.flink_host.states import BYTES
from streams.broker import Headers

PARCEL = Types.ROW([Types.STRING(), BYTES])
"""Flink's key and a parcel."""
RECORD = Types.ROW([BYTES, BYTES])
"""Key and value of a record."""
HEADED = Types.ROW([BYTES, BYTES, Types.MAP(Types.STRING(), BYTES)])
"""Key, value and headers of a record; None where it has none."""


def headers_field(headers: Headers | None) -> dict[str, bytes] | None:
    """The headers of a record as a field of `HEADED`.

    >>> headers_field([("trace", b"1"), ("trace", b"2"), ("empty", None)])
    {'trace': b'2'}
    """
    return {name: value for name, value in headers or () if value is not None} or None
