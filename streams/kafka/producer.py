"""Records handed on at least once: a lane for each topic."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Collection, Sequence

from streams.broker import Consumer, Headers
from streams.errors import ConfigError
from streams.kafka.cluster import Cluster
from streams.kafka.lane import Lane
from streams.kafka.pace import Pace
from streams.kafka.settings import PATIENT_LINGER_MS
from streams.payloads import Payloads

_NO_TRANSACTIONS = "wanted a transaction of a producer that was opened without an id for them"


class KafkaProducer:
    """Fills `streams.broker.Producer` without transactions.

    Every failure ends it: a record that could not be handed over would leave a hole before those
    sent after it, so all calls raise from then on, and the host begins again from what it
    committed. The first `send` to a topic opens its lane, which takes some milliseconds, and
    half a second until its first record arrives; one of no records does just that. One thread may
    send while another polls.
    """

    def __init__(
        self,
        cluster: Cluster,
        linger_ms: float,
        patient: Collection[str] = (),
        pace: Pace | None = None,
    ) -> None:
        self._cluster, self._linger_ms, self._patient = cluster, linger_ms, patient
        self._pace = pace
        self._lanes: dict[str, Lane] = {}
        self._sent: deque[tuple[Lane, int, int]] = deque()
        """Of each `send` that has not arrived: its lane, how far that was then, its records."""
        self._arrived = 0

    @property
    def waiting(self) -> int:
        return sum(lane.waiting for lane in self._lanes.values())

    @property
    def acknowledged(self) -> int:
        sent = self._sent
        while sent and sent[0][0].arrived >= sent[0][1]:
            self._arrived += sent.popleft()[2]
        return self._arrived

    def send(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Headers | None] | None = None,
    ) -> None:
        lane = self._lanes.get(topic)
        if lane is None:
            if topic in self._patient:
                lane = Lane(self._cluster, topic, PATIENT_LINGER_MS)
            else:
                pace = self._pace if self._linger_ms else None
                lane = Lane(self._cluster, topic, self._linger_ms, pace)
            # Anew, since another thread than the one that sends may be looking through them.
            self._lanes = {**self._lanes, topic: lane}
        if values:
            named = None if keys is None else Payloads.of(keys)
            lane.send(Payloads.of(values), named, headers)
            self._sent.append((lane, lane.sent, len(values)))

    def poll(self, timeout: float = 0.0) -> None:
        for lane in self._lanes.values():
            waits = timeout and lane.waiting
            lane.poll(timeout if waits else 0.0)
            if waits:
                timeout = 0.0

    def flush(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        return all(
            lane.flush(max(0.0, deadline - time.monotonic())) for lane in self._lanes.values()
        )

    def begin(self) -> None:
        raise ConfigError(_NO_TRANSACTIONS)

    def commit(
        self, consumer: Consumer, positions: Sequence[int], timeout: float = math.inf
    ) -> bool:
        raise ConfigError(_NO_TRANSACTIONS)

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.close()
