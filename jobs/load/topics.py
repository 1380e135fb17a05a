"""Makes the topics of a load test, and removes them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from streams.errors import InputError
from streams.kafka.library import Failure, admin

ANSWER_S = 30.0


@contextmanager
def made(connection: Mapping[str, Any], topics: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
    """Topics of one partition with these settings, there while the context is.

    Raises InputError where one cannot be made.
    """
    asked = admin.AdminClient(dict(connection))
    wanted = [
        admin.NewTopic(name, 1, 1, config=dict(settings)) for name, settings in topics.items()
    ]
    _await(asked.create_topics(wanted), "made")
    try:
        yield
    finally:
        _await(asked.delete_topics(list(topics)), "removed")


def _await(futures: Mapping[str, Any], done: str) -> None:
    for name, future in futures.items():
        try:
            future.result(ANSWER_S)
        except Failure as failure:
            raise InputError(
                f"{name}: wanted the topic {done}, got {failure.args[0].str()}"
            ) from failure
