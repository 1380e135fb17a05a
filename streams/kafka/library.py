"""confluent-kafka, an optional extra, imported here and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from threading import Thread
from typing import Any

from streams.errors import ConfigError

try:
    import confluent_kafka as client
    from confluent_kafka import admin
except ImportError as missing:
    raise ConfigError(
        "Kafka is spoken by confluent-kafka, which is not installed: "
        "run `uv sync --inexact --extra kafka`"
    ) from missing

LOG = logging.getLogger("headrace.kafka")
# Without a handler of its own Python would print what librdkafka says to standard error.
LOG.addHandler(logging.NullHandler())
# Of an outage each client tells for each broker, again and again: whoever is waiting says it once.
LOG.addFilter(lambda record: not record.getMessage().startswith("FAIL "))

Error = client.KafkaError
Failure = client.KafkaException
Message = client.Message
Partition = client.TopicPartition


def open_client(
    kind: Callable[..., Any], settings: Mapping[str, Any], heard: Callable[[Any], None]
) -> Any:
    """Open a client of a kind; `heard` is told of its errors whenever it is polled.

    Raises ConfigError for settings that librdkafka cannot work with.
    """
    try:
        return kind({**settings, "error_cb": heard}, logger=LOG)
    except Failure as failure:
        reason = failure.args[0].str()
    except ValueError as error:
        reason = str(error)
    raise ConfigError(f"Kafka: wanted settings that work, got: {reason}; change that setting")


def in_background(call: Callable[[], Any]) -> Future[Any]:
    """Make a call that waits for the broker whatever it is told, in a thread that nobody joins.

    An error of librdkafka's is the future's.
    """
    done = Future[Any]()

    def run() -> None:
        try:
            done.set_result(call())
        except Failure as failure:
            done.set_exception(failure)

    Thread(target=run, name="kafka", daemon=True).start()
    return done


__all__ = [
    "LOG",
    "Error",
    "Failure",
    "Message",
    "Partition",
    "admin",
    "client",
    "in_background",
    "open_client",
]
