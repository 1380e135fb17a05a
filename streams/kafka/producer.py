"""Records handed on, in order, and what has become of them."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from streams.broker import Consumer, Headers
from streams.errors import ConfigError, HeadraceError, OutputError
from streams.kafka.cluster import Cluster, Heard
from streams.kafka.consumer import KafkaConsumer
from streams.kafka.failures import translated
from streams.kafka.library import Failure, client, open_client
from streams.kafka.settings import PRODUCER, QUEUE, TRANSACTION_MS

OPEN_S = 30.0
SLICE_S = 0.15
"""Longest single wait; librdkafka's binding does not return early from one of 0.2 s and more."""
CLOSE_S = 1.5


class _Sent:
    """Records of one `send` that are not acknowledged; called with the fate of each."""

    __slots__ = ("_failed", "count", "left")

    def __init__(self, count: int, failed: Callable[[Any, Any], None]) -> None:
        self.count = self.left = count
        self._failed = failed

    def __call__(self, error: Any, message: Any) -> None:
        if error is None:
            self.left -= 1
        else:
            self._failed(error, message)


class KafkaProducer:
    """Fills `streams.broker.Producer`.

    Every failure ends it: once a record could not be handed over, what is sent after it would
    stand in a wrong order, so all calls raise from then on, and the host begins again from what
    it committed. A transaction that failed was aborted: none of it is visible.
    """

    def __init__(self, cluster: Cluster, transactional: str | None) -> None:
        self._cluster = cluster
        self._sent: deque[_Sent] = deque()
        self._acknowledged = 0
        self._failed: HeadraceError | None = None
        self._heard = Heard()
        self._open = False
        """Whether a transaction is."""
        self._sent_positions = False
        settings = {**cluster.settings, **PRODUCER}
        if transactional is not None:
            settings |= {
                "transactional.id": transactional,
                "transaction.timeout.ms": TRANSACTION_MS,
            }
        self._client = open_client(client.Producer, settings, self._heard)
        if transactional is not None:
            self._fence(transactional)

    @property
    def waiting(self) -> int:
        return len(self._client)

    @property
    def acknowledged(self) -> int:
        sent = self._sent
        while sent and not sent[0].left:
            self._acknowledged += sent.popleft().count
        return self._acknowledged

    def send(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Headers | None] | None = None,
    ) -> None:
        self._raise_if_failed()
        count = len(values)
        while len(self._client) and len(self._client) + count > QUEUE:
            self.poll(SLICE_S)
        none = [None] * count
        sent = _Sent(count, self._on_failure)
        self._sent.append(sent)
        produce = self._client.produce
        try:
            if headers is None or not any(headers):
                for value, key in zip(values, keys or none, strict=True):
                    produce(topic, value, key, on_delivery=sent)
            else:
                for value, key, own in zip(values, keys or none, headers, strict=True):
                    produce(topic, value, key, headers=own and list(own), on_delivery=sent)
        except Failure as failure:
            self._fail(failure.args[0], f"{topic}: wanted a record handed over")

    def poll(self, timeout: float = 0.0) -> None:
        self._client.poll(min(timeout, SLICE_S))
        self._raise_if_failed()

    def flush(self, timeout: float) -> bool:
        left = self._client.flush(timeout)
        self._raise_if_failed()
        return not left

    def begin(self) -> None:
        try:
            self._client.begin_transaction()
        except Failure as failure:
            self._fail(failure.args[0], "wanted to begin a transaction")
        self._open, self._sent_positions = True, False

    def commit(
        self, consumer: Consumer, positions: Sequence[int], timeout: float = math.inf
    ) -> bool:
        if not isinstance(consumer, KafkaConsumer):
            raise ConfigError(f"wanted the consumer of a Kafka, got {type(consumer).__name__}")
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                if not self._sent_positions:
                    self._client.send_offsets_to_transaction(
                        *consumer.transactional(positions), SLICE_S
                    )
                    self._sent_positions = True
                self._client.commit_transaction(SLICE_S)
            except Failure as failure:
                error = failure.args[0]
                if not error.retriable():
                    self._abort()
                    self._fail(error, "wanted to commit a transaction")
            else:
                self._open = False
                self._raise_if_failed()
                return True
        return False

    def close(self) -> None:
        if self._open:
            self._abort()
        with suppress(Failure):
            self._client.purge()
            self._client.close()

    def _fence(self, transactional: str) -> None:
        """Abort what the producer before us left open, and fence it."""
        what = f"{self._cluster.bootstrap}: wanted transactions as {transactional}"
        deadline = time.monotonic() + OPEN_S
        while True:
            try:
                self._client.init_transactions(SLICE_S)
                return
            except Failure as failure:
                error = failure.args[0]
                if not error.retriable() or time.monotonic() > deadline:
                    raise translated(error, what) from failure

    def _abort(self) -> None:
        self._open = False
        with suppress(Failure):
            self._client.abort_transaction(CLOSE_S)

    def _on_failure(self, error: Any, message: Any) -> None:
        if self._failed is None:
            what = f"{message.topic()}/{message.partition()}: wanted a record handed over"
            self._failed = translated(error, what, OutputError)

    def _fail(self, error: Any, what: str) -> None:
        self._failed = self._failed or translated(error, what, OutputError)
        raise self._failed

    def _raise_if_failed(self) -> None:
        if self._heard.fatal is not None and self._failed is None:
            what = f"{self._cluster.bootstrap}: wanted to go on sending"
            self._failed = translated(self._heard.fatal, what, OutputError)
        if self._failed is not None:
            raise self._failed
