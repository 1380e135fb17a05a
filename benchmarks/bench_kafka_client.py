"""What the seam costs: an echo through `streams.kafka` beside one that uses the library bare.

Each takes the same records from one topic and hands 500 bytes with the same key on to another,
batches of up to 4096. Microseconds of processor time a record, of the thread that calls and of
the whole process with librdkafka's threads; the median of runs that take turns. The bare echo
reads of a record only value and key; the second also offset, time and headers, as any host with
positions and order must; the third learns of each record's arrival by a callback, in place of a
lane.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.table import Table

from jobs.config import Settings
from jobs.load.stand import own_broker
from streams.broker import Input
from streams.kafka import Kafka
from streams.kafka.library import Partition, client
from streams.kafka.settings import CONNECTION, CONSUMER, PRODUCER

RUNS = 7
RECORDS = 200_000
BATCH = 4096
WAITING = 50_000
SOURCE, SINK = "source", "sink"
VALUE, ANSWER = b"x" * 250, b"y" * 500
Cost = dict[str, float]


def run() -> dict[str, Cost]:
    """Microseconds a record by echo."""
    costs: dict[str, list[Cost]] = {}
    with (
        TemporaryDirectory(prefix="headrace-bench-") as folder,
        own_broker(Path(folder), Settings()) as (settings, _),
    ):
        _fill(settings.brokers)
        echoes: dict[str, Callable[[], Cost]] = {
            "bare": _bare(settings.brokers, columns=False, callback=False),
            "bare, every column": _bare(settings.brokers, columns=True, callback=False),
            "bare, a callback a record": _bare(settings.brokers, columns=True, callback=True),
            "headrace": lambda: _seam(settings.brokers),
        }
        for _ in range(RUNS):
            for name, echo in echoes.items():
                costs.setdefault(name, []).append(echo())
    return {
        name: {each: statistics.median(cost[each] for cost in runs) for each in runs[0]}
        for name, runs in costs.items()
    }


def table(result: dict[str, Cost]) -> Table:
    """The costs, and each beside the bare echo's."""
    shown = Table("echo", "calling thread, µs", "process, µs", "beside bare")
    for name, cost in result.items():
        beside = cost["thread"] / result["bare"]["thread"]
        shown.add_row(name, f"{cost['thread']:.2f}", f"{cost['process']:.2f}", f"{beside:.2f}×")
    return shown


def _fill(bootstrap: str) -> None:
    admin = client.admin.AdminClient({"bootstrap.servers": bootstrap})
    wanted = [client.admin.NewTopic(name, 1) for name in (SOURCE, SINK)]
    for made in admin.create_topics(wanted).values():
        made.result()
    producer = client.Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    for place in range(RECORDS + BATCH):
        producer.produce(SOURCE, VALUE, b"customer-%d" % (place % 5000))
        if not place % BATCH:
            producer.poll(0)
            while len(producer) > WAITING:
                producer.poll(0.1)
    producer.flush()


@contextmanager
def _timed(cost: Cost) -> Iterator[None]:
    thread, process = time.thread_time(), time.process_time()
    yield
    cost["thread"] = (time.thread_time() - thread) / RECORDS * 1e6
    cost["process"] = (time.process_time() - process) / RECORDS * 1e6


def _seam(bootstrap: str) -> Cost:
    broker = Kafka(bootstrap)
    consumer, producer = broker.consumer([Input(SOURCE, 0)]), broker.producer()
    consumer.seek([0])
    producer.send(SINK, [ANSWER])
    assert producer.flush(10)
    while not (taken := sum(map(len, consumer.poll(1, 0.1)))):
        pass
    cost: Cost = {}
    with _timed(cost):
        while taken < RECORDS:
            producer.poll(0.05 if producer.waiting > WAITING else 0.0)
            consumer.ends()
            for each in consumer.poll(BATCH, 0.1) if producer.waiting <= WAITING else ():
                taken += len(each)
                producer.send(SINK, [ANSWER] * len(each), each.keys)
        assert producer.flush(60)
    consumer.close()
    producer.close()
    return cost


def _bare(bootstrap: str, *, columns: bool, callback: bool) -> Callable[[], Cost]:
    def heard(error: Any, _: Any) -> None:
        assert error is None

    def echo() -> Cost:
        common = {"bootstrap.servers": bootstrap, "log_level": 0, **CONNECTION}
        consumer = client.Consumer({**common, **CONSUMER, "group.id": "bare"})
        producer = client.Producer({**common, **PRODUCER})
        consumer.assign([Partition(SOURCE, 0, 0)])
        producer.produce(SINK, ANSWER)
        producer.flush()
        while (first := consumer.poll(0.1)) is None or first.error():
            pass
        produce, taken, cost = producer.produce, 1, Cost()
        with _timed(cost):
            while taken < RECORDS:
                producer.poll(0.05 if len(producer) > WAITING else 0)
                messages = consumer.consume(BATCH, 0) if len(producer) <= WAITING else []
                taken += len(messages)
                for message in messages:
                    if message.error() is None:
                        message.value()
                        if columns:
                            message.offset(), message.timestamp()[1] * 1000, message.headers()
                        if callback:
                            produce(SINK, ANSWER, message.key(), on_delivery=heard)
                        else:
                            produce(SINK, ANSWER, message.key())
            producer.flush()
        consumer.close()
        return cost

    return echo
