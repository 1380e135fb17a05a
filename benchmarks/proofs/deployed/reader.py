"""A user's subscriber, kafka-python and nothing of ours: every committed record, in its order."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from benchmarks.proofs.proof import BrokenError
from streams.broker import Input
from streams.memory import Cluster
from streams.topics import PREDICTIONS

POLL_MS, ANSWER_MS = 50, 5000
logging.getLogger("kafka").addHandler(logging.NullHandler())


class Said(msgspec.Struct):
    """What is looked at of a prediction as it comes."""

    id: str
    number: int


class Subscriber:
    """Reads the predictions while they are made, through all outages."""

    def __init__(self, bootstrap: str) -> None:
        self.records: list[Any] = []
        self.newest = -1
        """The largest number of a prediction so far."""
        self.newest_at = 0.0
        """When the broker appended that prediction, seconds UTC."""
        self.ids: set[str] = set()
        self._bootstrap = bootstrap

    def run(self, stop: Event) -> None:
        """Read until told to stop, and then to the end."""
        with consumer(self._bootstrap, [PREDICTIONS]) as opened:
            while not stop.is_set():
                self._take(opened)
            while not _at_end(opened):
                self._take(opened)

    def _take(self, opened: Any) -> None:
        for records in opened.poll(POLL_MS).values():
            self.records += records
            for record in records:
                said = msgspec.json.decode(record.value, type=Said)
                self.ids.add(said.id)
                if said.number > self.newest:
                    self.newest, self.newest_at = said.number, record.timestamp / 1000


def read(bootstrap: str, topics: Sequence[str]) -> list[Any]:
    """Every committed record of some topics."""
    found: list[Any] = []
    with consumer(bootstrap, topics) as opened:
        while not _at_end(opened):
            for records in opened.poll(POLL_MS).values():
                found += records
    return found


def as_cluster(topics: Mapping[str, int], records: Sequence[Any]) -> Cluster:
    """The records in the shape of the broker in memory, with the offsets and stamps they had."""
    cluster = Cluster(topics)
    for record in records:
        log = cluster.logs(record.topic)[record.partition]
        if record.offset < log.next:
            raise BrokenError(f"{record.topic}: read offset {record.offset} after {log.next - 1}")
        log.next = record.offset
        headers = [(name, value) for name, value in record.headers]
        log.append(record.timestamp * 1000, record.key, record.value, headers or None)
    return cluster


def committed(asked: Any, inputs: Sequence[Input]) -> list[int]:
    """The positions of the group that a consumer was opened with; 0 where it has none."""
    return [asked.committed(TopicPartition(*each)) or 0 for each in inputs]


def ends(asked: Any, inputs: Sequence[Input]) -> list[int]:
    """The offset after the last record or mark of each input."""
    found = asked.end_offsets([TopicPartition(*each) for each in inputs])
    return [found[TopicPartition(*each)] for each in inputs]


@contextmanager
def consumer(bootstrap: str, topics: Sequence[str], group: str | None = None) -> Iterator[Any]:
    """A consumer of committed records of whole topics, from their beginning."""
    opened = KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        # It asks for offsets with what it knows of leaders, which restarts make stale.
        metadata_max_age_ms=2000,
    )
    try:
        places = [
            TopicPartition(topic, partition)
            for topic in topics
            for partition in sorted(opened.partitions_for_topic(topic) or ())
        ]
        if places:
            opened.assign(places)
            opened.seek_to_beginning()
        yield opened
    finally:
        opened.close()


def _at_end(opened: Any) -> bool:
    """Whether it has read all there is; not yet, where the broker does not say."""
    try:
        ends = opened.end_offsets(list(opened.assignment()), ANSWER_MS)
    except KafkaTimeoutError:
        return False
    return all(opened.position(place) >= end for place, end in ends.items())
