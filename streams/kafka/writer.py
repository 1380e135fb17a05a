"""Hands records of one topic on, many at a time."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from streams.broker import Headers
from streams.kafka.handle import Handle
from streams.kafka.library import Failure
from streams.kafka.librdkafka import (
    ANY_PARTITION,
    COPY,
    ERROR,
    MESSAGE_WORDS,
    PRODUCER,
    PURGE_ALL,
    at_once,
    error_of,
    rd_kafka,
)
from streams.kafka.messages import FIELDS, WHOSE, WHY, as_messages, describe
from streams.payloads import Payloads

_TOPIC, _PARTITION, _VALUE, _KEY, _OPAQUE, _FLAGS, _HEADERS = 2, 3, 4, 5, 6, 7, 10


class _Argument(ctypes.Structure):
    """An `rd_kafka_vu_t`: one of the things that a record is made of."""

    _fields_ = (
        ("kind", ctypes.c_int),
        ("first", ctypes.c_int64),
        ("second", ctypes.c_int64),
        ("rest", ctypes.c_char * 48),
    )


class Writer(Handle):
    """`arrived` is told of each `send`'s number how many of its records did; `failed` of errors.

    Of a topic of one `partition` nothing is told of what arrives: see `len`.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        topic: str,
        heard: Callable[[Any], None],
        failed: Callable[[Any], None],
        arrived: Callable[[int, int], None] | None,
    ) -> None:
        quiet = {"delivery.report.only.error": arrived is None}
        super().__init__(PRODUCER, {**settings, **quiet}, heard)
        self._topic = rd_kafka.topic_new(self.client, topic.encode(), None)
        self._held.append((rd_kafka.topic_destroy, self._topic))
        self._partition = 0 if arrived is None else ANY_PARTITION
        self._failed, self._arrived = failed, arrived
        self._table, self._where = np.empty((0, MESSAGE_WORDS), np.int64), 0

    def __len__(self) -> int:
        """Records that have not arrived, or whose fate was not heard of."""
        return int(at_once.outq_len(self.client))

    def send(
        self,
        number: int,
        values: Payloads,
        keys: Payloads | None,
        headers: Sequence[Headers | None] | None,
    ) -> None:
        """Take records over; Failure for one that can never arrive, or for want of room."""
        if headers is not None and any(headers):
            none = [None] * len(values)
            for row in zip(values, none if keys is None else keys, headers, strict=True):
                self._send_one(number, *row)
            return
        if len(self._table) < len(values):
            self._table = np.empty((len(values), MESSAGE_WORDS), np.int64)
            self._where = self._table.ctypes.data
        made = as_messages(values, keys, number, self._table)
        where = self._topic, self._partition, COPY, self._where
        if rd_kafka.produce_batch(*where, len(made)) < len(made):
            codes = made[:, ERROR].astype(np.int32)
            raise Failure(error_of(int(codes[np.flatnonzero(codes)[0]])))

    def hurry(self) -> None:
        """Wake up what sends, so that it sends what has lingered."""
        at_once.flush(self.client, 0)

    def _send_one(
        self, number: int, value: bytes | None, key: bytes | None, headers: Headers | None
    ) -> None:
        listed = rd_kafka.headers_new(len(headers or ()))
        for name, held in headers or ():
            size = -1 if held is None else len(held)
            rd_kafka.header_add(listed, name.encode(), -1, held, size)
        parts = [
            _Argument(_TOPIC, self._topic),
            _Argument(_PARTITION, self._partition),
            _Argument(_VALUE, *_memory(value)),
            _Argument(_KEY, *_memory(key)),
            _Argument(_OPAQUE, number),
            _Argument(_FLAGS, COPY),
            _Argument(_HEADERS, listed),
        ]
        arguments = (_Argument * len(parts))(*parts)
        if failed := rd_kafka.produceva(self.client, arguments, len(parts)):
            rd_kafka.headers_destroy(listed)
            code = rd_kafka.error_code(failed)
            rd_kafka.error_destroy(failed)
            raise Failure(error_of(code))

    def _delivered(self, event: int) -> None:
        pointers = np.empty(rd_kafka.event_message_count(event), np.int64)
        count = rd_kafka.event_message_array(event, pointers.ctypes.data, len(pointers))
        fields, texts = np.empty((FIELDS, count), np.int64), np.empty((2, count, 3), np.int64)
        describe(pointers[:count], 0, 0, fields, *texts)
        bad = fields[WHY] != 0
        if bad.any():
            self._failed(error_of(int(fields[WHY, bad][0])))
        if self._arrived:
            numbers, counts = np.unique(fields[WHOSE, ~bad], return_counts=True)
            for number, records in zip(numbers.tolist(), counts.tolist(), strict=True):
                self._arrived(number, records)

    def close(self) -> None:
        """Let go of it, and of what has not arrived."""
        rd_kafka.purge(self.client, PURGE_ALL)
        super().close()


def _memory(held: bytes | None) -> tuple[int, int]:
    """Where it lies and how long it is; the caller keeps it."""
    if held is None:
        return 0, 0
    return ctypes.cast(ctypes.c_char_p(held), ctypes.c_void_p).value or 0, len(held)
