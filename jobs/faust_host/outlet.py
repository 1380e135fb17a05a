"""What leaves a worker: by librdkafka, to a partition of our choice where it matters.

Faust's own producer costs some 100 µs a record, and does not say when what was sent has arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from jobs.config import Settings
from streams.errors import HeadraceError, OutputError
from streams.kafka.cluster import Cluster, Heard
from streams.kafka.failures import translated
from streams.kafka.library import Failure, client, open_client
from streams.kafka.settings import PRODUCER

LOOK_S = 0.002
ANY = -1
"""The partition that the key has."""


class Sent:
    """Records that belong together, until all of them have arrived."""

    def __init__(self) -> None:
        self.left = 0
        self.offset = -1
        """Of the last that arrived."""


class Outlet:
    """Hands records on; those of one partition arrive in their order, or none after a failure."""

    def __init__(self, settings: Settings) -> None:
        cluster = Cluster(settings.brokers, settings.security(), "headrace")
        self._failed: HeadraceError | None = None
        self._heard = Heard()
        given = {**cluster.settings, **PRODUCER, "linger.ms": settings.linger_ms}
        self._client = open_client(client.Producer, given, self._heard)

    def send(
        self,
        sent: Sent,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        partition: int = ANY,
    ) -> None:
        """Take records over, as a part of what is `sent`. Raises OutputError after a failure."""

        def heard(error: Any, message: Any) -> None:
            if error is None:
                sent.left -= 1
                sent.offset = message.offset()
            elif self._failed is None:
                what = f"{topic}: wanted a record handed over"
                self._failed = translated(error, what, OutputError)

        produce = self._client.produce
        for key, value in zip(keys, values, strict=True):
            while True:
                try:
                    produce(topic, value, key, partition, on_delivery=heard)
                    break
                except BufferError:
                    self._client.poll(LOOK_S)
        sent.left += len(values)
        self.poll()

    def poll(self) -> None:
        """Hear what has become of records. Raises OutputError for one that can never arrive."""
        with suppress(Failure):
            self._client.poll(0)
        if self._failed is None and self._heard.fatal is not None:
            what = "wanted records handed over"
            self._failed = translated(self._heard.fatal, what, OutputError)
        if self._failed is not None:
            raise self._failed

    async def arrived(self, sent: Sent) -> None:
        """Return once all of it has."""
        while sent.left:
            self.poll()
            if sent.left:
                await asyncio.sleep(LOOK_S)
