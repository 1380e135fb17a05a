"""The broker in memory as one process sees it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from streams.broker import Consumer, Input, Producer
from streams.errors import InputError
from streams.memory.consumer import MemoryConsumer
from streams.memory.process import Process
from streams.memory.producer import MemoryProducer


class MemoryBroker(Process):
    """See `streams.broker.Broker`; a process each, all of one cluster.

    >>> from streams.memory.cluster import Cluster
    >>> broker = MemoryBroker(Cluster({"labels": 1}))
    >>> producer, consumer = broker.producer(), broker.consumer([Input("labels", 0)])
    >>> producer.send("labels", [b"{}"])
    >>> producer.flush(1.0)
    True
    >>> [list(run.values) for run in consumer.poll(10, 0.0)]
    [[b'{}']]
    """

    def partitions(self, topics: Sequence[str]) -> Mapping[str, int]:
        self.insist("partitions")
        there = self.cluster.topics
        missing = [name for name in topics if name not in there]
        if missing:
            raise InputError(
                f"broker: wanted the topics {', '.join(topics)}, found no {', '.join(missing)}; "
                "make them first"
            )
        return {name: len(there[name]) for name in topics}

    def topic_ids(self, topics: Sequence[str]) -> Mapping[str, str]:
        self.insist("topic ids")
        return {name: self.cluster.ids[name] for name in topics}

    def consumer(
        self,
        inputs: Sequence[Input],
        group: str | None = None,
        owner: str = "",
        patience: float = 0.0,
    ) -> Consumer:
        self.insist("join")
        consumer = MemoryConsumer(self, tuple(inputs), group, owner)
        self.open(consumer)
        self.ask("join answered")
        return consumer

    def producer(
        self,
        transactional: str | None = None,
        patient: Collection[str] = (),
        beside: Consumer | None = None,
    ) -> Producer:
        self.insist("open producer")
        producer = MemoryProducer(self, transactional)
        self.open(producer)
        self.ask("open producer answered")
        return producer
