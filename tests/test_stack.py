"""The local stack: servers that come up, stay known and go away without leftovers."""

from jobs.stack.kafka import Kafka
from jobs.stack.redis import Redis


def test_the_shared_broker_answers(kafka_broker: Kafka) -> None:
    assert kafka_broker.answers()


def test_the_shared_redis_answers(redis_server: Redis) -> None:
    assert redis_server.answers()
