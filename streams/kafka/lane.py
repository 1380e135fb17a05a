"""One topic's way out.

How far records have arrived must be known without a Python call for each, which would cost more
than handing it over. librdkafka keeps records of one partition in order and says how many it still
holds; so a lane is a client of its own for one topic, and of its n records all but the last
`len(client)` have arrived. Only a topic of several partitions, whose records overtake each other,
has them counted one by one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from streams.broker import Headers
from streams.errors import HeadraceError, OutputError
from streams.kafka.cluster import Cluster, Heard
from streams.kafka.failures import translated
from streams.kafka.library import Failure, client, open_client
from streams.kafka.settings import PRODUCER, QUEUE
from streams.kafka.watch import Watch

SLICE_S = 0.15
"""Longest single wait; librdkafka's binding does not return early from one of 0.2 s and more."""


class Lane:
    """Takes records for one topic. Raises OutputError where it does not exist.

    Each waits up to `linger_ms` for others to be sent with it.
    """

    def __init__(self, cluster: Cluster, topic: str, linger_ms: float) -> None:
        self.topic = topic
        self.sent = 0
        self._failed: HeadraceError | None = None
        self._heard = Heard()
        self._watch = Watch(cluster, [topic], OutputError)
        ordered = self._watch.known[topic].partitions == 1
        settings = {
            **cluster.settings,
            **PRODUCER,
            "linger.ms": linger_ms,
            "on_delivery": self._on_failure,
            "delivery.report.only.error": ordered,
        }
        self._counts: deque[_Count] | None = None if ordered else deque()
        self._counted = 0
        self._client = open_client(client.Producer, settings, self._heard)

    @property
    def waiting(self) -> int:
        """Records that have not arrived."""
        return len(self._client)

    @property
    def arrived(self) -> int:
        """The largest n such that the first n records have."""
        if self._counts is None:
            return self.sent - len(self._client)
        while self._counts and not self._counts[0].left:
            self._counted += self._counts.popleft().count
        return self._counted

    def send(
        self,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None,
        headers: Sequence[Headers | None] | None,
    ) -> None:
        """Take records over; waits only while librdkafka's queue is full."""
        count = len(values)
        while len(self._client) and len(self._client) + count > QUEUE:
            self.poll(SLICE_S)
        try:
            hand_over(self._client, self.topic, values, keys, headers, self._count(count))
        except Failure as failure:
            self._on_failure(failure.args[0], None)
        self.sent += count
        self.raise_if_failed()

    def poll(self, timeout: float) -> None:
        """Hear what has become of records, waiting up to `timeout` or SLICE_S for it."""
        # A producer that is of no use any more says so by raising, and to `_heard`.
        with suppress(Failure):
            self._client.poll(min(timeout, SLICE_S))
        self.raise_if_failed()
        self._watch.look()

    def flush(self, timeout: float) -> bool:
        """Whether everything arrived within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while len(self._client) and time.monotonic() < deadline:
            self.poll(SLICE_S)
        return not len(self._client)

    def close(self) -> None:
        """Let go of what has not arrived."""
        self._client.purge()
        # Its own `close` would wait for the broker, however long.
        del self._client

    def raise_if_failed(self) -> None:
        """Raise what a record that can never arrive failed of."""
        if self._failed is None and self._heard.fatal is not None:
            self._on_failure(self._heard.fatal, None)
        if self._failed is not None:
            raise self._failed

    def _count(self, count: int) -> _Count | None:
        if self._counts is None:
            return None
        self._counts.append(_Count(count, self._on_failure))
        return self._counts[-1]

    def _on_failure(self, error: Any, _: Any) -> None:
        if self._failed is None:
            what = f"{self.topic}: wanted a record handed over"
            self._failed = translated(error, what, OutputError)


class _Count:
    """Counts down the records of one `send`; called with the fate of each."""

    __slots__ = ("_failed", "count", "left")

    def __init__(self, count: int, failed: Callable[[Any, Any], None]) -> None:
        self.count = self.left = count
        self._failed = failed

    def __call__(self, error: Any, message: Any) -> None:
        if error is None:
            self.left -= 1
        else:
            self._failed(error, message)


def hand_over(
    to: Any,
    topic: str,
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None] | None,
    headers: Sequence[Headers | None] | None,
    heard: Callable[[Any, Any], None] | None = None,
) -> None:
    """Give records to a librdkafka producer in their order."""
    produce = to.produce
    keys = [None] * len(values) if keys is None else keys
    if headers is not None and any(headers):
        for value, key, own in zip(values, keys, headers, strict=True):
            produce(topic, value, key, headers=own and list(own), on_delivery=heard)
    elif heard is not None:
        for value, key in zip(values, keys, strict=True):
            produce(topic, value, key, on_delivery=heard)
    else:
        for value, key in zip(values, keys, strict=True):
            produce(topic, value, key)
