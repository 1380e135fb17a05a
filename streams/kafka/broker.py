"""A real Kafka behind the seam that hosts know."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from streams.broker import Consumer, Input
from streams.kafka.cluster import Cluster
from streams.kafka.consumer import KafkaConsumer
from streams.kafka.membership import Membership
from streams.kafka.producer import KafkaProducer
from streams.kafka.security import Security
from streams.kafka.settings import LINGER_MS
from streams.kafka.transactions import TransactionalProducer


class Kafka:
    """Fills `streams.broker.Broker` with the cluster at `bootstrap`, as host:port by commas.

    Nothing is asked until something is opened. Then, if the cluster does not answer within 10 s,
    InputError; if it does not let us in, ConfigError. `client` is how brokers' logs name us.
    Records wait up to `linger_ms` for others to be sent with them.
    """

    def __init__(
        self,
        bootstrap: str,
        security: Security | None = None,
        client: str = "headrace",
        linger_ms: float = LINGER_MS,
    ) -> None:
        self._cluster = Cluster(bootstrap, security, client)
        self._linger_ms = linger_ms

    def partitions(self, topics: Sequence[str]) -> Mapping[str, int]:
        return self._cluster.partitions(topics)

    def topic_ids(self, topics: Sequence[str]) -> Mapping[str, str]:
        """The broker's id of each topic: another one than before means that it was made anew."""
        return {topic: each.id for topic, each in self._cluster.described(topics).items()}

    def consumer(
        self,
        inputs: Sequence[Input],
        group: str | None = None,
        owner: str = "",
        patience: float = 0.0,
    ) -> KafkaConsumer:
        self._cluster.reach()
        membership = Membership(self._cluster, group, owner) if group else None
        return KafkaConsumer(self._cluster, inputs, membership, patience)

    def producer(
        self,
        transactional: str | None = None,
        patient: Collection[str] = (),
        beside: Consumer | None = None,
    ) -> KafkaProducer | TransactionalProducer:
        self._cluster.reach()
        if transactional is None:
            pace = beside.pace if isinstance(beside, KafkaConsumer) else None
            return KafkaProducer(self._cluster, self._linger_ms, patient, pace)
        return TransactionalProducer(self._cluster, transactional)
