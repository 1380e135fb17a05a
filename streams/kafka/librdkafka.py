"""librdkafka's own functions, of the library that confluent-kafka is linked with.

Structures are those of its public header `rdkafka.h`, which stay as they are for as long as its
major version does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_int32, c_int64, c_size_t, c_void_p
from typing import Any

from streams.errors import ConfigError
from streams.kafka.library import client

MAJOR = 2
PRODUCER, CONSUMER = range(2)
DR_EVENT, LOG_EVENT, ERROR_EVENT = 0x1, 0x4, 0x8
COPY = 0x2
ANY_PARTITION = -1
PURGE_ALL = 0x1 | 0x2 | 0x4
WITHOUT_CLOSE = 0x8
MESSAGE_WORDS = 9
"""Of an `rd_kafka_message_t`, 64 bits each."""
ERROR, TOPIC, PARTITION, VALUE, VALUE_SIZE, KEY, KEY_SIZE, OFFSET, OPAQUE = range(MESSAGE_WORDS)
"""Where its fields are; of the error and the partition, the lower half."""
TEXT = 512

_PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "version": (c_int,),
    "conf_new": (c_void_p,),
    "conf_set": (c_int, c_void_p, c_char_p, c_char_p, c_char_p, c_size_t),
    "conf_destroy": (None, c_void_p),
    "conf_set_events": (None, c_void_p, c_int),
    "new": (c_void_p, c_int, c_void_p, c_char_p, c_size_t),
    "name": (c_char_p, c_void_p),
    "destroy_flags": (None, c_void_p, c_int),
    "set_log_queue": (c_int, c_void_p, c_void_p),
    "fatal_error": (c_int, c_void_p, c_char_p, c_size_t),
    "brokers_add": (c_int, c_void_p, c_char_p),
    "queue_get_main": (c_void_p, c_void_p),
    "queue_get_consumer": (c_void_p, c_void_p),
    "queue_destroy": (None, c_void_p),
    "queue_io_event_enable": (None, c_void_p, c_int, c_void_p, c_size_t),
    "queue_poll": (c_void_p, c_void_p, c_int),
    "event_type": (c_int, c_void_p),
    "event_error": (c_int, c_void_p),
    "event_error_string": (c_char_p, c_void_p),
    "event_log": (c_int, c_void_p, c_void_p, c_void_p, c_void_p),
    "event_message_count": (c_size_t, c_void_p),
    "event_message_array": (c_size_t, c_void_p, c_void_p, c_size_t),
    "event_destroy": (None, c_void_p),
    "topic_new": (c_void_p, c_void_p, c_char_p, c_void_p),
    "topic_name": (c_char_p, c_void_p),
    "topic_destroy": (None, c_void_p),
    "topic_partition_list_new": (c_void_p, c_int),
    "topic_partition_list_add": (c_void_p, c_void_p, c_char_p, c_int32),
    "topic_partition_list_set_offset": (c_int, c_void_p, c_char_p, c_int32, c_int64),
    "topic_partition_list_destroy": (None, c_void_p),
    "assign": (c_int, c_void_p, c_void_p),
    "pause_partitions": (c_int, c_void_p, c_void_p),
    "resume_partitions": (c_int, c_void_p, c_void_p),
    "query_watermark_offsets": (c_int, c_void_p, c_char_p, c_int32, c_void_p, c_void_p, c_int),
    "get_watermark_offsets": (c_int, c_void_p, c_char_p, c_int32, c_void_p, c_void_p),
    "consume_batch_queue": (c_int64, c_void_p, c_int, c_void_p, c_size_t),
    "message_errstr": (c_char_p, c_void_p),
    "message_timestamp": (c_int64, c_void_p, c_void_p),
    "message_headers": (c_int, c_void_p, c_void_p),
    "message_destroy": (None, c_void_p),
    "header_get_all": (c_int, c_void_p, c_size_t, c_void_p, c_void_p, c_void_p),
    "headers_new": (c_void_p, c_size_t),
    "header_add": (c_int, c_void_p, c_char_p, c_int64, c_char_p, c_int64),
    "headers_destroy": (None, c_void_p),
    "produce_batch": (c_int, c_void_p, c_int32, c_int, c_void_p, c_int),
    "produceva": (c_void_p, c_void_p, c_void_p, c_size_t),
    "error_code": (c_int, c_void_p),
    "error_destroy": (None, c_void_p),
    "flush": (c_int, c_void_p, c_int),
    "outq_len": (c_int, c_void_p),
    "purge": (c_int, c_void_p, c_int),
}


class _Library:
    """Its functions by their names without rd_kafka_. ConfigError if they are not to be had."""

    def __init__(self, opened: Callable[[str], ctypes.CDLL]) -> None:
        library = opened(client.cimpl.__file__)
        for name, (result, *arguments) in _PROTOTYPES.items():
            try:
                function = library[f"rd_kafka_{name}"]
            except AttributeError:
                raise _unfit(f"one without rd_kafka_{name}") from None
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)
        found, known = self.version(), client.libversion()[1]
        if found != known or found >> 24 != MAJOR:
            raise _unfit(f"{found:#x} beside its {known:#x}")

    def __getattr__(self, name: str) -> Any:  # for the type checker: all are set
        raise AttributeError(name)


def _unfit(got: str) -> ConfigError:
    return ConfigError(
        f"Kafka: wanted librdkafka {MAJOR} by way of confluent-kafka {client.__version__}, got "
        f"{got}; install confluent-kafka from its wheel: `uv sync --inexact --extra kafka`"
    )


def address_of(function: Any) -> int:
    """Where a function of the library lies in memory."""
    return ctypes.cast(function, c_void_p).value or 0


def error_of(code: int, reason: bytes | None = None, *, fatal: bool = False) -> Any:
    """The binding's own KafkaError, so that all errors are of one kind."""
    text = None if reason is None else reason.decode(errors="replace")
    return client.KafkaError(code, text, fatal)


rd_kafka, at_once = _Library(ctypes.CDLL), _Library(ctypes.PyDLL)
"""Its functions; the second's keep the interpreter's lock, for what never waits."""
