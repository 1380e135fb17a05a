"""Makes the topics of a load test, and removes them again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jobs.load.clients import ignored
from streams.errors import InputError
from streams.kafka.library import Failure, admin, open_client

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
    _await_known(asked, set(topics))
    try:
        yield
    finally:
        _await(asked.delete_topics(list(topics)), "removed")


def _await_known(asked: Any, topics: set[str]) -> None:
    """Return when the broker tells its clients of the topics."""
    deadline = time.monotonic() + ANSWER_S
    while unknown := topics - asked.list_topics(timeout=ANSWER_S).topics.keys():
        if time.monotonic() > deadline:
            raise InputError(f"wanted the topics {', '.join(unknown)}, which were made, got none")
        time.sleep(LOOK_S)


def _await(futures: Mapping[str, Any], done: str) -> None:
    for name, future in futures.items():
        try:
            future.result(ANSWER_S)
        except Failure as failure:
            raise InputError(
                f"{name}: wanted the topic {done}, got {failure.args[0].str()}"
            ) from failure
