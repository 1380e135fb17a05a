"""Records handed on exactly once: output and positions become visible together or not at all."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from typing import Any

from streams.broker import Consumer, Headers
from streams.errors import ConfigError, HeadraceError, OutputError
from streams.kafka.cluster import Cluster, Heard
from streams.kafka.consumer import KafkaConsumer
from streams.kafka.failures import translated
from streams.kafka.library import Failure, client, in_background, open_client
from streams.kafka.settings import QUEUE, TRANSACTIONS
from streams.kafka.watch import Watch

FENCE_S = 60.0
"""How long the coordinator may take to end what the producer before us left open."""
ABORT_S = 1.5
SLICE_S = 0.15
"""Longest single wait; librdkafka's binding does not return early from one of 0.2 s and more."""
LOOK_S = 0.5


class TransactionalProducer:
    """Fills `streams.broker.Producer` with transactions.

    An outage of the broker only delays a commit, as long as it is over within TRANSACTION_MS. Any
    other failure aborts the transaction, so that none of it is ever visible, and ends the
    producer: all calls raise from then on, and the host begins again from what it committed.
    """

    def __init__(self, cluster: Cluster, id: str) -> None:
        self._what = f"{cluster.bootstrap}, transactions of {id}: wanted"
        self._failed: HeadraceError | None = None
        self._heard = Heard()
        self._cluster = cluster
        self._watches: dict[str, Watch] = {}
        self._sent = self._committed = 0
        self._open = False
        self._committing: Future[Any] | None = None
        settings = {
            **cluster.settings,
            **TRANSACTIONS,
            "transactional.id": id,
            "on_delivery": self._on_failure,
            "delivery.report.only.error": True,
        }
        self._client = open_client(client.Producer, settings, self._heard)
        self._fence()

    @property
    def waiting(self) -> int:
        return len(self._client)

    @property
    def acknowledged(self) -> int:
        return self._sent if not len(self._client) else self._committed

    def send(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Headers | None] | None = None,
    ) -> None:
        if topic not in self._watches:
            self._watches[topic] = Watch(self._cluster, [topic], OutputError)
        self._raise_if_failed()
        while len(self._client) and len(self._client) + len(values) > QUEUE:
            self.poll(SLICE_S)
        try:
            _hand_over(self._client, topic, values, keys, headers)
        except Failure as failure:
            self._fail(failure.args[0], f"a record handed over to {topic}")
        self._sent += len(values)

    def poll(self, timeout: float = 0.0) -> None:
        self._hear(timeout)
        self._raise_if_failed()
        self._look()

    def flush(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while len(self._client) and time.monotonic() < deadline:
            self.poll(SLICE_S)
        return not len(self._client)

    def begin(self) -> None:
        self._raise_if_failed()
        try:
            self._client.begin_transaction()
        except Failure as failure:
            self._fail(failure.args[0], "to begin one")
        self._open = True

    def commit(
        self, consumer: Consumer, positions: Sequence[int], timeout: float = math.inf
    ) -> bool:
        if not isinstance(consumer, KafkaConsumer):
            raise ConfigError(f"wanted the consumer of a Kafka, got {type(consumer).__name__}")
        deadline = time.monotonic() + timeout
        if self._committing is None:
            self._raise_if_failed()
            member = consumer.member(timeout)
            if member is None:
                return False
            self._committing = in_background(
                partial(self._commit, consumer.places(positions), member)
            )
        while not self._committing.done() and time.monotonic() < deadline:
            wait([self._committing], min(LOOK_S, deadline - time.monotonic()))
            self._look()
        if not self._committing.done():
            return False
        failed, self._committing = self._committing.exception(), None
        if isinstance(failed, Failure):
            self._fail(failed.args[0], "to commit one")
        self._open, self._committed = False, self._sent
        return True

    def close(self) -> None:
        if self._committing is not None:
            wait([self._committing], ABORT_S)
            if not self._committing.done():
                return
        self._abort()
        with suppress(Failure):
            self._client.purge()
        del self._client

    def _commit(self, places: list[Any], member: Any) -> None:
        steps = [
            lambda: self._client.send_offsets_to_transaction(places, member),
            self._client.commit_transaction,
        ]
        while steps:
            try:
                steps[0]()
                steps.pop(0)
            except Failure as failure:
                if not failure.args[0].retriable():
                    raise

    def _fence(self) -> None:
        """Abort what the producer before us left open, and fence it."""
        deadline = time.monotonic() + FENCE_S
        while True:
            try:
                self._client.init_transactions(SLICE_S)
                return
            except Failure as failure:
                error = failure.args[0]
                if not error.retriable() or time.monotonic() > deadline:
                    raise translated(error, f"{self._what} to begin with them") from failure

    def _look(self) -> None:
        for watch in self._watches.values():
            watch.look()

    def _abort(self) -> None:
        if self._open:
            self._open = False
            with suppress(Failure):
                self._client.abort_transaction(ABORT_S)

    def _hear(self, timeout: float) -> None:
        # A producer that is of no use any more says so by raising, and to `_heard`.
        with suppress(Failure):
            self._client.poll(min(timeout, SLICE_S))

    def _on_failure(self, error: Any, message: Any) -> None:
        if self._failed is None:
            what = f"{self._what} a record handed over to {message.topic()}"
            self._failed = translated(error, what, OutputError)

    def _fail(self, error: Any, what: str) -> None:
        """Abort, and raise the first thing that went wrong: it may be a record's, still unheard."""
        self._hear(0)
        self._failed = self._failed or translated(error, f"{self._what} {what}", OutputError)
        self._raise_if_failed()

    def _raise_if_failed(self) -> None:
        if self._failed is None and self._heard.fatal is not None:
            what = f"{self._what} to go on"
            self._failed = translated(self._heard.fatal, what, OutputError)
        if self._failed is not None:
            self._abort()
            raise self._failed


def _hand_over(
    to: Any,
    topic: str,
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None] | None,
    headers: Sequence[Headers | None] | None,
) -> None:
    """Give records to a librdkafka producer in their order."""
    produce = to.produce
    keys = [None] * len(values) if keys is None else keys
    if headers is not None and any(headers):
        for value, key, own in zip(values, keys, headers, strict=True):
            produce(topic, value, key, headers=own and list(own))
    else:
        for value, key in zip(values, keys, strict=True):
            produce(topic, value, key)
