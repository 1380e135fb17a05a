"""One topic's way out.

How far records have arrived must be known without a Python call for each, which would cost more
than handing it over. librdkafka keeps records of one partition in order and says how many it still
holds; so a lane is a client of its own for one topic, and of its n records all but the last
`len(client)` have arrived. Only a topic of several partitions, whose records overtake each other,
has them counted.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from streams.broker import Headers
from streams.errors import HeadraceError, OutputError
from streams.kafka.cluster import Cluster, Heard
from streams.kafka.failures import translated
from streams.kafka.library import Failure
from streams.kafka.pace import NEVER, Pace
from streams.kafka.settings import PRODUCER, QUEUE
from streams.kafka.watch import Watch
from streams.kafka.writer import Writer
from streams.payloads import Payloads

SLICE_S = 0.15
"""Longest single wait."""
LOOK_S = 0.002
"""Of what arrives nothing is told; so it is looked for."""


class Lane:
    """Takes records for one topic. Raises OutputError where it does not exist.

    Each waits up to `linger_ms` for others to be sent with it: with a `pace`, from when the
    consumer that keeps it handed out what they are made of.
    """

    def __init__(
        self, cluster: Cluster, topic: str, linger_ms: float, pace: Pace | None = None
    ) -> None:
        self.topic = topic
        self._pace, self._linger_s, self.due = pace, linger_ms / 1000, NEVER
        if pace:
            pace.join(self)
            linger_ms /= 2
        self.sent = self._known = 0
        self._failed: HeadraceError | None = None
        self._heard = Heard()
        self._watch = Watch(cluster, [topic], OutputError)
        ordered = self._watch.known[topic].partitions == 1
        settings = {**cluster.settings, **PRODUCER, "linger.ms": linger_ms}
        self._left: dict[int, int] | None = None if ordered else {}
        """Of each `send` how many of its records have not arrived, where that is counted."""
        self._counts: deque[tuple[int, int]] = deque()
        self._sends = self._counted = 0
        heard = None if ordered else self._on_arrival
        self._client = Writer(settings, topic, self._heard, self._on_failure, heard)

    @property
    def waiting(self) -> int:
        """Records that have not arrived."""
        return len(self._client)

    @property
    def arrived(self) -> int:
        """The largest n such that the first n records have."""
        if self._left is None:
            return self.sent - len(self._client)
        while self._counts and not self._left[self._counts[0][0]]:
            number, count = self._counts.popleft()
            del self._left[number]
            self._counted += count
        return self._counted

    def send(
        self,
        values: Payloads,
        keys: Payloads | None,
        headers: Sequence[Headers | None] | None,
    ) -> None:
        """Take records over; waits only while librdkafka's queue is full."""
        count = len(values)
        while (left := len(self._client)) and left + count > QUEUE:
            self.poll(SLICE_S)
        number, self._sends = self._sends, self._sends + 1
        if self._left is not None:
            self._left[number] = count
            self._counts.append((number, count))
        try:
            self._client.send(number, values, keys, headers)
        except Failure as failure:
            self._on_failure(failure.args[0])
        self.sent += count
        if self._pace and self.due is NEVER:
            self.due = self._pace.due(self._linger_s)
        self.raise_if_failed()

    def hurry(self) -> None:
        """Have what waits for others sent, if it has waited for half as long as it may."""
        self.due = NEVER
        self._client.hurry()

    def poll(self, timeout: float) -> None:
        """Hear what has become of records, waiting up to `timeout` or SLICE_S for it."""
        self._client.serve(0.0)
        before, now, arrived = len(self._client), time.monotonic(), self.arrived
        self._client.note(now, news=not before or arrived > self._known)
        self._known, deadline = arrived, now + min(timeout, SLICE_S)
        while before and len(self._client) == before and time.monotonic() < deadline:
            self._client.serve(LOOK_S)
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
        self._client.close()

    def raise_if_failed(self) -> None:
        """Raise what a record that can never arrive failed of."""
        if self._failed is None and self._heard.fatal is not None:
            self._on_failure(self._heard.fatal)
        if self._failed is not None:
            raise self._failed

    def _on_arrival(self, number: int, records: int) -> None:
        if self._left is not None:
            self._left[number] -= records

    def _on_failure(self, error: Any) -> None:
        if self._failed is None:
            what = f"{self.topic}: wanted a record handed over"
            self._failed = translated(error, what, OutputError)
