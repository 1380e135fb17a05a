"""The clients of a load test, set as those of the jobs that they are measured beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.config import Settings
from streams.errors import OutputError
from streams.kafka.failures import translated
from streams.kafka.library import Error, client, open_client
from streams.kafka.settings import CONNECTION, CONSUMER, PRODUCER

FULL = Error._QUEUE_FULL  # noqa: SLF001 - where the binding keeps its own codes
ROOM_S = 0.002


def connection(settings: Settings) -> dict[str, Any]:
    """What librdkafka is told of where the cluster is and how to get in."""
    return {
        "bootstrap.servers": settings.brokers,
        "client.id": "headrace-load",
        **settings.security().librdkafka(),
        **CONNECTION,
    }


def producer(connection: Mapping[str, Any], linger_ms: float) -> Any:
    """A producer, its records' fate told only where it is bad."""
    settings = {**connection, **PRODUCER, "linger.ms": linger_ms}
    return open_client(client.Producer, settings, ignored)


def consumer(connection: Mapping[str, Any]) -> Any:
    """A consumer that joins no group."""
    own = {"group.id": "headrace-load", "enable.partition.eof": False}
    return open_client(client.Consumer, {**connection, **CONSUMER, **own}, ignored)


def hand_over(producer: Any, topic: str, messages: list[dict[str, Any]]) -> None:
    """Give the client the records, by `value` and `key`, waiting for room where it has none.

    Raises OutputError for a record that it can never take.
    """
    while (taken := producer.produce_batch(topic, messages)) < len(messages):
        messages = messages[taken:]
        for message in messages:
            error = message.pop("_error", None)
            if error and error.code() != FULL:
                raise translated(error, f"{topic}: wanted a record handed over", OutputError)
        producer.poll(ROOM_S)


def ignored(_error: Any) -> None:
    """What does not come counts as missing, whatever the reason."""
