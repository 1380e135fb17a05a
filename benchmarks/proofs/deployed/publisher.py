"""A user's publisher: sends at a rate, by the clock, and keeps on while the broker is away."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from threading import Event
from typing import Any

from confluent_kafka import Producer

from benchmarks.proofs.proof import BrokenError
from benchmarks.proofs.simulated.traffic import Sent
from streams.topics import TRANSACTIONS

FLUSH_SECONDS = 120.0
ROOM = 50_000
"""Records that the client may hold, those among them whose fate it has not told yet."""
SETTINGS: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 2,
    "message.timeout.ms": 0,
    "reconnect.backoff.max.ms": 500,
    "log_level": 0,
}


class Publisher:
    """Publishes records; what it sent is counted by topic."""

    def __init__(self, client: Mapping[str, str]) -> None:
        self.count = 0
        """Transactions sent."""
        self.last: Sent | None = None
        self._producer = Producer({**client, **SETTINGS})
        self._errors: list[Any] = []

    def run(self, records: Iterable[Sent], rate: float, stop: Event) -> None:
        """So many transactions a second, and their labels between them, until told to stop."""
        began = time.monotonic()
        for each in records:
            due = began + self.count / rate
            while time.monotonic() < due:
                self._producer.poll(0)
                stop.wait(max(due - time.monotonic(), 0.002))
            if stop.is_set():
                break
            self.send(each)
        self.flush()

    def send(self, record: Sent) -> None:
        """Hand over one record, once there is room for it."""
        while len(self._producer) >= ROOM:
            self._producer.poll(0.1)
        self._producer.produce(
            record.topic,
            record.value,
            record.key,
            headers=list(record.headers or ()),
            on_delivery=self._delivered,
        )
        self.last = record
        self.count += record.topic == TRANSACTIONS

    def flush(self) -> None:
        """Wait until the broker has them all."""
        left = self._producer.flush(FLUSH_SECONDS)
        if left or self._errors:
            raise BrokenError(f"publisher: {left} records not taken, errors {self._errors[:3]}")

    def _delivered(self, error: Any, _: Any) -> None:
        if error is not None:
            self._errors.append(error)
