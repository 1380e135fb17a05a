"""Kafka's side of a test: topics, records and members as other programs make and see them."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from jobs.stack.kafka import Kafka
from streams.broker import Consumer as OurConsumer
from streams.broker import Input, Run
from streams.errors import HeadraceError
from streams.kafka import Kafka as Client
from streams.kafka.consumer import KafkaConsumer
from tests.kafka_server import unique

QUIET = {"log_level": 0, "error_cb": lambda _: None}
PATIENCE_S = 60.0
"""How long a test waits for what must come; a loaded machine takes its time."""
APPEND_TIME = {"message.timestamp.type": "LogAppendTime"}


def admin(server: Kafka) -> AdminClient:
    return AdminClient({**server.client(), **QUIET})


def topic(server: Kafka, name: str = "topic", partitions: int = 1, **settings: str) -> str:
    """Make a topic of a name that no other test uses; dots in settings are underscores."""
    made = unique(name)
    remake(server, made, partitions, **settings)
    return made


def remake(server: Kafka, name: str, partitions: int = 1, **settings: str) -> None:
    config = APPEND_TIME | {key.replace("_", "."): value for key, value in settings.items()}
    asked = admin(server)
    asked.create_topics([NewTopic(name, partitions, config=config)])[name].result(60)
    until(lambda: name in asked.list_topics(timeout=60).topics)


def delete(server: Kafka, name: str) -> None:
    asked = admin(server)
    asked.delete_topics([name])[name].result(60)


def grow(server: Kafka, name: str, partitions: int) -> None:
    asked = admin(server)
    asked.create_partitions([NewPartitions(name, partitions)])[name].result(60)


def fill(server: Kafka, name: str, values: Sequence[bytes], **settings: Any) -> None:
    """Send values with a client of somebody else's."""
    producer = Producer({**server.client(), **QUIET, **settings})
    for value in values:
        producer.produce(name, value)
    assert producer.flush(PATIENCE_S) == 0


def committed(server: Kafka, name: str, count: int) -> list[bytes | None]:
    """The first `count` committed records of a topic's partition 0, read by somebody else."""
    settings = {"group.id": unique("reader"), "isolation.level": "read_committed"}
    consumer = Consumer({**server.client(), **QUIET, **settings})
    consumer.assign([TopicPartition(name, 0, 0)])
    values: list[bytes | None] = []
    deadline = monotonic() + PATIENCE_S
    while len(values) < count and monotonic() < deadline:
        values += [each.value() for each in consumer.consume(count - len(values), 0.1)]
    consumer.close()
    return values


def read(consumer: OurConsumer, count: int, limit: int = 1000) -> list[Run]:
    """Poll until `count` records have come."""
    runs: list[Run] = []
    deadline = monotonic() + PATIENCE_S
    while sum(map(len, runs)) < count and monotonic() < deadline:
        runs += consumer.poll(limit, 0.1)
    assert sum(map(len, runs)) == count
    return runs


def values(runs: Sequence[Run], input: int = 0) -> list[bytes | None]:
    return [value for run in runs if run.input == input for value in run.values]


def until(happens: Callable[[], object]) -> None:
    """Call until it says so."""
    deadline = monotonic() + PATIENCE_S
    while not happens():
        assert monotonic() < deadline


def many(count: int, of: str = "") -> list[bytes]:
    return [f"{of}{place}".encode() for place in range(count)]


def reader(server: Kafka, *topics: str) -> KafkaConsumer:
    """A consumer without group of partition 0 of each topic, from its beginning."""
    consumer = Client(server.bootstrap).consumer([Input(name, 0) for name in topics])
    consumer.seek([0] * len(topics))
    return consumer


def fails(consumer: KafkaConsumer) -> str:
    """Poll until it raises, and return what it says."""
    with pytest.raises(HeadraceError) as raised:
        until(lambda: consumer.poll(1000, 0.1) and False)
    return str(raised.value)
