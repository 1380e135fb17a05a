"""A client of librdkafka's that is spoken to without the binding."""

from __future__ import annotations

import ctypes
import logging
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from streams.errors import ConfigError
from streams.kafka.library import LOG, Error
from streams.kafka.librdkafka import (
    DR_EVENT,
    ERROR_EVENT,
    LOG_EVENT,
    TEXT,
    WITHOUT_CLOSE,
    at_once,
    error_of,
    rd_kafka,
)

REMIND_S = 5.0
"""A client of which nothing is heard for so long is told again where the cluster is."""
_LEVELS = {0: logging.CRITICAL, 1: logging.CRITICAL, 2: logging.CRITICAL, 3: logging.ERROR}
_LEVELS |= {4: logging.WARNING, 5: logging.INFO, 6: logging.INFO, 7: logging.DEBUG}


class Handle:
    """One client of a kind; `heard` is told of its errors whenever it is served.

    Nothing of it ever calls Python from a thread of its own: what it has to say waits until then.
    Raises ConfigError for settings that librdkafka cannot work with.
    """

    def __init__(
        self, kind: int, settings: Mapping[str, Any], heard: Callable[[Any], None]
    ) -> None:
        reason = ctypes.create_string_buffer(TEXT)
        conf = rd_kafka.conf_new()
        for name, value in {**settings, "log.queue": True}.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if rd_kafka.conf_set(conf, name.encode(), text.encode(), reason, TEXT):
                rd_kafka.conf_destroy(conf)
                raise _refused(reason.value)
        rd_kafka.conf_set_events(conf, DR_EVENT | LOG_EVENT | ERROR_EVENT)
        self._heard = heard
        self.client = rd_kafka.new(kind, conf, reason, TEXT)
        if not self.client:
            rd_kafka.conf_destroy(conf)
            raise _refused(reason.value)
        self._name = rd_kafka.name(self.client).decode()
        self._bootstrap = str(settings["bootstrap.servers"]).encode()
        self._news = time.monotonic()
        self._events = rd_kafka.queue_get_main(self.client)
        self._held: list[tuple[Callable[[Any], None], Any]] = [
            (rd_kafka.queue_destroy, self._events)
        ]
        """What is to be given back before it ends, and how."""
        self._end = weakref.finalize(self, _destroy, self.client, self._held)
        self._end.atexit = False
        rd_kafka.set_log_queue(self.client, None)

    def serve(self, timeout: float) -> None:
        """Hear what it has to say, waiting so many seconds for the first."""
        wait = int(1000 * timeout)
        event = (rd_kafka if wait else at_once).queue_poll(self._events, wait)
        while event:
            self._take(event)
            rd_kafka.event_destroy(event)
            event = at_once.queue_poll(self._events, 0)

    def note(self, now: float, *, news: bool) -> None:
        """Whether there is `news` of what is waited for; without any for long, say where to ask.

        A broker that comes to itself after a pause says for a moment that its cluster has no
        brokers, and librdkafka then forgets the one that it knew, for good (decision 48).
        """
        if news:
            self._news = now
        elif now - self._news > REMIND_S:
            at_once.brokers_add(self.client, self._bootstrap)
            self._news = now

    def _take(self, event: int) -> None:
        kind = rd_kafka.event_type(event)
        if kind == DR_EVENT:
            self._delivered(event)
        elif kind == ERROR_EVENT:
            self._heard(self._error(event))
        elif kind == LOG_EVENT:
            self._log(event)

    def _delivered(self, event: int) -> None:
        """Hear of the fate of records: no client but one that hands them on is told."""

    def _error(self, event: int) -> Any:
        code, said = rd_kafka.event_error(event), rd_kafka.event_error_string(event)
        if code != Error._FATAL:
            return error_of(code, said)
        reason = ctypes.create_string_buffer(TEXT)
        return error_of(rd_kafka.fatal_error(self.client, reason, TEXT), reason.value, fatal=True)

    def _log(self, event: int) -> None:
        facility, line, level = ctypes.c_char_p(), ctypes.c_char_p(), ctypes.c_int()
        places = map(ctypes.byref, (facility, line, level))
        if not rd_kafka.event_log(event, *places):
            said = [(each.value or b"").decode(errors="replace") for each in (facility, line)]
            LOG.log(_LEVELS[level.value], "%s [%s] %s", said[0], self._name, said[1])

    def close(self) -> None:
        """Let go of it and of what it holds; there is nothing to be called any more."""
        del self.client
        self._end()


def _destroy(client: int, held: list[tuple[Callable[[Any], None], Any]]) -> None:
    for let_go, what in reversed(held):
        let_go(what)
    rd_kafka.destroy_flags(client, WITHOUT_CLOSE)


def _refused(reason: bytes) -> ConfigError:
    said = reason.decode(errors="replace")
    return ConfigError(f"Kafka: wanted settings that work, got: {said}; change that setting")
