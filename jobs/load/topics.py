"""Makes the topics of a load test, and removes them again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jobs.load.clients import consumer, ignored
from streams.errors import InputError
from streams.kafka.failures import translated
from streams.kafka.library import Failure, Partition, admin, open_client

ANSWER_S, LOOK_S = 30.0, 0.02


@contextmanager
def made(connection: Mapping[str, Any], topics: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
    """Topics of one partition with these settings, there while the context is.

    Raises InputError where one cannot be made.
    """
    asked = open_client(admin.AdminClient, connection, ignored)
    wanted = [
        admin.NewTopic(name, 1, 1, config=dict(settings)) for name, settings in topics.items()
    ]
    _await(asked.create_topics(wanted), "made")
    _await_led(connection, topics)
    try:
        yield
    finally:
        _await(asked.delete_topics(list(topics)), "removed")


def _await_led(connection: Mapping[str, Any], topics: Iterable[str]) -> None:
    """Return when the partition of each topic has a leader that answers."""
    asking = consumer(connection)
    deadline = time.monotonic() + ANSWER_S
    try:
        for topic in topics:
            while True:
                try:
                    asking.get_watermark_offsets(Partition(topic, 0), timeout=ANSWER_S)
                    break
                except Failure as failure:
                    if time.monotonic() > deadline:
                        raise translated(failure.args[0], f"{topic}: wanted a leader") from failure
                    time.sleep(LOOK_S)
    finally:
        asking.close()


def _await(futures: Mapping[str, Any], done: str) -> None:
    for name, future in futures.items():
        try:
            future.result(ANSWER_S)
        except Failure as failure:
            raise InputError(
                f"{name}: wanted the topic {done}, got {failure.args[0].str()}"
            ) from failure
