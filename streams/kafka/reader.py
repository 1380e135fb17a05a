"""Reads partitions from the offsets it is told, many records at a time, and joins no group."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.broker import NEVER, Headers, Input
from streams.kafka.doorbell import Doorbell
from streams.kafka.handle import Handle
from streams.kafka.library import Failure
from streams.kafka.librdkafka import CONSUMER, address_of, at_once, error_of, rd_kafka
from streams.kafka.messages import (
    FIELDS,
    WHEN,
    WHERE,
    WHICH_PARTITION,
    WHICH_TOPIC,
    WHY,
    WITH,
    describe,
    gathered,
    let_go,
)
from streams.kafka.pace import Pace
from streams.payloads import Payloads

Int64s = npt.NDArray[np.int64]
SLICE_S = 0.2
"""The longest that one call waits: meanwhile no signal is heard."""
_TIMESTAMP, _HEADERS, _DESTROY = (
    address_of(each)
    for each in (rd_kafka.message_timestamp, rd_kafka.message_headers, rd_kafka.message_destroy)
)


@dataclass(slots=True)
class Messages:
    """n things that librdkafka handed out: records, or errors of a partition."""

    fields: Int64s
    """(FIELDS, n)"""
    keys: Payloads
    values: Payloads
    headers: list[Headers | None] | None
    """None if none has any."""
    errors: Mapping[int, Any]
    """Those that are errors, by their places."""
    sole: bool
    """Whether it is known that all are of one partition."""

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, wanted: Any) -> Messages:
        """Some of them, without errors: a slice, or places."""
        headers = self.headers
        if headers is not None:
            headers = [headers[row] for row in np.arange(len(self))[wanted].tolist()]
        columns = self.fields[:, wanted], self.keys.take(wanted), self.values.take(wanted)
        return Messages(*columns, headers, {}, self.sole)

    @property
    def offsets(self) -> Int64s:
        offsets: Int64s = self.fields[WHERE]
        return offsets

    @property
    def stamps(self) -> Int64s:
        """Microseconds UTC."""
        stamps: Int64s = self.fields[WHEN]
        return stamps

    @property
    def sources(self) -> Int64s:
        """(n, 2) the library's name of the topic, and the partition."""
        return self.fields[WHICH_TOPIC : WHICH_PARTITION + 1].T


class Reader(Handle):
    """Takes nothing until it is told where to begin."""

    def __init__(self, settings: Mapping[str, Any], heard: Callable[[Any], None]) -> None:
        super().__init__(CONSUMER, settings, heard)
        self._queue = rd_kafka.queue_get_consumer(self.client)
        self._held.append((rd_kafka.queue_destroy, self._queue))
        self._bell = Doorbell(self._queue)
        self._held.append((Doorbell.close, self._bell))
        self.came = self._looked = time.monotonic()
        """About when what was handed out last had come, and when that was looked for last."""
        self._pointers, self._where = np.empty(0, np.int64), 0
        self._ends = ctypes.c_int64(), ctypes.c_int64()
        self._into = tuple(ctypes.byref(each) for each in self._ends)

    def assign(self, places: Iterable[tuple[Input, int]]) -> None:
        """Read these partitions from these offsets on, and no others."""
        with _listed(places) as listed:
            _check(rd_kafka.assign(self.client, listed))

    def pause(self, inputs: Iterable[Input]) -> None:
        """Take nothing of these."""
        with _listed((each, 0) for each in inputs) as listed:
            _check(rd_kafka.pause_partitions(self.client, listed))

    def resume(self, inputs: Iterable[Input]) -> None:
        """Go on with these."""
        with _listed((each, 0) for each in inputs) as listed:
            _check(rd_kafka.resume_partitions(self.client, listed))

    def bounds(self, at: Input, timeout: float) -> tuple[int, int]:
        """First offset and the offset after the last, asked of the broker; or Failure."""
        low, high = ctypes.c_int64(), ctypes.c_int64()
        place = self.client, at.topic.encode(), at.partition
        ends = ctypes.byref(low), ctypes.byref(high)
        _check(rd_kafka.query_watermark_offsets(*place, *ends, int(1000 * timeout)))
        return low.value, high.value

    def high(self, at: Input) -> int:
        """The offset after the last as of the last answer; negative where there was none."""
        place = self.client, at.topic.encode(), at.partition
        # Of a partition that is not assigned, as while a group is being regained, nothing is known.
        unknown = at_once.get_watermark_offsets(*place, *self._into)
        return NEVER if unknown else self._ends[1].value

    def topic_of(self, topic: int) -> str:
        """What the library's name of a topic stands for."""
        return str(rd_kafka.topic_name(topic).decode()) if topic else ""

    def poll(self, limit: int, timeout: float, pace: Pace) -> Messages | None:
        """What is there, at most `limit`, waiting so long for the first and keeping the pace."""
        if len(self._pointers) < limit:
            self._pointers = np.empty(limit, np.int64)
            self._where = self._pointers.ctypes.data
        self.serve(0)
        count, now = self._fetch(limit), time.monotonic()
        # What is there has been so for half of the time that nobody looked, on average.
        self.came = (self._looked + now) / 2
        deadline = now + timeout
        while not count and timeout > 0:
            self._bell.wait(max(min(timeout, SLICE_S, pace.left()), 0.0))
            count = self._fetch(limit)
            pace.keep()
            self.came = time.monotonic()
            timeout = deadline - self.came
        self.note(now, news=count > 0)
        self._looked = time.monotonic()
        return self._taken(self._pointers[:count]) if count else None

    def _fetch(self, limit: int) -> int:
        """Have the addresses of messages written down; how many there were."""
        return max(int(rd_kafka.consume_batch_queue(self._queue, 0, self._where, limit)), 0)

    def _taken(self, pointers: Int64s) -> Messages:
        """Copy what the messages at these addresses hold, and give them back."""
        n = len(pointers)
        fields, (values, keys) = np.empty((FIELDS, n), np.int64), np.empty((2, n, 3), np.int64)
        headers, errors = None, {}
        try:
            size, plain = describe(pointers, _TIMESTAMP, _HEADERS, fields, values, keys)
            if not plain:
                if fields[WITH].any():
                    headers = [_headers(each) if each else None for each in fields[WITH].tolist()]
                bad: list[int] = np.flatnonzero(fields[WHY]).tolist()
                errors = {row: _error(pointers, fields, row) for row in bad}
            found, named = gathered(values, keys, size)
        finally:
            let_go(pointers, _DESTROY)
        return Messages(fields, named, found, headers, errors, bool(plain))


def _error(pointers: Int64s, fields: Int64s, row: int) -> Any:
    said = rd_kafka.message_errstr(int(pointers[row]))
    return error_of(int(fields[WHY, row]), said)


def _headers(headers: int) -> Headers:
    """Names and values, in order."""
    name, value, size = ctypes.c_char_p(), ctypes.c_void_p(), ctypes.c_size_t()
    places = ctypes.byref(name), ctypes.byref(value), ctypes.byref(size)
    found: list[tuple[str, bytes | None]] = []
    while not rd_kafka.header_get_all(headers, len(found), *places):
        held = ctypes.string_at(value.value, size.value) if value.value else None
        found.append(((name.value or b"").decode(errors="replace"), held))
    return found


def _check(code: int) -> None:
    if code:
        raise Failure(error_of(code))


@contextmanager
def _listed(places: Iterable[tuple[Input, int]]) -> Iterator[int]:
    """Partitions and offsets as a list of the library's."""
    listed = rd_kafka.topic_partition_list_new(1)
    try:
        for (topic, partition), offset in places:
            rd_kafka.topic_partition_list_add(listed, topic.encode(), partition)
            rd_kafka.topic_partition_list_set_offset(listed, topic.encode(), partition, offset)
        yield listed
    finally:
        rd_kafka.topic_partition_list_destroy(listed)
