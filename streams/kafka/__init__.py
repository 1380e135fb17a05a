"""Kafka by librdkafka: what `streams.broker` asks for, filled by the extra `kafka`."""

from streams.kafka.broker import Kafka
from streams.kafka.security import Security

__all__ = ["Kafka", "Security"]
