"""When what was made of records is sent."""

from __future__ import annotations

import math
import os
import resource
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("confluent_kafka")

from jobs.stack.kafka import Kafka as Server
from streams.broker import Input
from streams.kafka import Kafka, doorbell
from streams.kafka.pace import NEVER, Pace
from streams.kafka.reader import Reader
from streams.kafka.settings import CONNECTION, CONSUMER
from tests.kafka_clients import PATIENCE_S, fill, topic


class Clock:
    """Shows what it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Lane:
    """Notes when it was hurried."""

    def __init__(self, pace: Pace, clock: Clock) -> None:
        self.due, self.gone, self._clock = NEVER, list[float](), clock
        pace.join(self)

    def hurry(self) -> None:
        self.due = NEVER
        self.gone.append(self._clock())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(clock)


def test_what_can_go_does_before_something_is_made_of_the_next(pace: Pace, clock: Clock) -> None:
    lane = Lane(pace, clock)
    pace.take(clock.now)
    lane.due = pace.due(1.0)
    clock.now += 0.25
    pace.take(clock.now)
    assert not lane.gone
    clock.now += 0.25
    pace.take(clock.now)
    assert lane.gone == [100.5]


def test_what_had_come_before_it_was_taken_has_waited_since(pace: Pace, clock: Clock) -> None:
    pace.take(clock.now - 0.25)
    assert pace.due(1.0) == (100.5, 100.75)


@pytest.mark.parametrize(
    ("took", "waits"),
    [(0.0, 1.0), (0.25, 0.75), (0.5, 0.5), (0.75, 0.5), (30.0, 0.5)],
)
def test_the_time_that_making_took_counts_down_to_a_half(
    pace: Pace, clock: Clock, took: float, waits: float
) -> None:
    pace.take(clock.now)
    clock.now += took
    can, is_to = pace.due(1.0)
    assert (can - clock.now, is_to - clock.now) == (0.5, waits)


def test_each_lane_goes_when_it_is_due_and_once(pace: Pace, clock: Clock) -> None:
    soon, late = Lane(pace, clock), Lane(pace, clock)
    pace.take(clock.now)
    soon.due, late.due = pace.due(1.0), pace.due(4.0)
    for _ in range(8):
        clock.now += min(pace.left(), 1.0)
        pace.keep()
    assert (soon.gone, late.gone) == ([101.0], [104.0])
    assert pace.left() == math.inf


def test_what_is_overdue_is_not_waited_for(pace: Pace, clock: Clock) -> None:
    lane = Lane(pace, clock)
    lane.due = clock.now - 3, clock.now - 2
    assert pace.left() == -2
    pace.keep()
    assert lane.gone == [clock.now]


@pytest.fixture
def crowded() -> Iterator[None]:
    """More descriptors in use than `select` can take."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(limits[0], min(limits[1], 4096))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, limits[1]))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    yield
    for each in held:
        os.close(each)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("exact", [True, False])
def test_a_doorbell_rings_when_something_comes(
    kafka_broker: Server, monkeypatch: pytest.MonkeyPatch, *, exact: bool
) -> None:
    if not exact:  # as on a system without `ppoll`
        monkeypatch.setattr(doorbell, "_PPOLL", None)
    name = topic(kafka_broker)
    settings = CONNECTION | CONSUMER | {"bootstrap.servers": kafka_broker.bootstrap}
    reader = Reader(settings | {"group.id": "none"}, lambda _: None)
    bell = doorbell.Doorbell(reader._queue)
    before = time.monotonic()
    bell.wait(0.01)
    assert time.monotonic() - before >= 0.01
    fill(kafka_broker, name, [b"a"])
    reader.assign([(Input(name, 0), 0)])
    while reader.poll(9, 0.0, Pace()) is None:  # it also rings for what is no record
        bell.wait(PATIENCE_S)
    assert time.monotonic() - before < PATIENCE_S
    bell.close()
    reader.close()


@pytest.mark.usefixtures("crowded")
def test_a_consumer_keeps_the_pace_of_the_producer_beside_it(kafka_broker: Server) -> None:
    source, target, linger_s = topic(kafka_broker), topic(kafka_broker), 2.0
    broker = Kafka(kafka_broker.bootstrap, linger_ms=1000 * linger_s)
    consumer = broker.consumer([Input(source, 0)])
    producer, feed = broker.producer(beside=consumer), Kafka(kafka_broker.bootstrap).producer()
    consumer.seek([0])
    producer.send(target, [])
    feed.send(source, [b"1"])
    taken: list[bytes | None] = []
    while len(taken) < 2:
        for run in consumer.poll(10, PATIENCE_S):
            taken += run.values
            producer.send(target, list(run.values))
            if len(taken) == 1:  # while the first waits, a second comes: it is handed out at once
                feed.send(source, [b"2"])
                feed.poll()
    assert taken == [b"1", b"2"]
    assert 0 < consumer.pace.left() <= linger_s
    deadline = time.monotonic() + PATIENCE_S
    while consumer.pace.left() < math.inf and time.monotonic() < deadline:
        assert not consumer.poll(10, 0.25)
    assert producer.flush(PATIENCE_S)
    assert producer.acknowledged == 2
    for each in (producer, feed, consumer):
        each.close()
