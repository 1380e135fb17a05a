"""A client that has forgotten every broker is told where they are."""

import time

import pytest

pytest.importorskip("confluent_kafka")

from jobs.stack.kafka import Kafka as Server
from streams.broker import Input
from streams.kafka.handle import REMIND_S
from streams.kafka.pace import Pace
from streams.kafka.reader import Messages, Reader
from streams.kafka.settings import CONNECTION, CONSUMER, PRODUCER
from streams.kafka.writer import Writer
from streams.payloads import Payloads
from tests.kafka_clients import PATIENCE_S, fill, topic, until

NOWHERE = "127.0.0.1:1"
"""For librdkafka, a client that was told of no brokers is like one that finds none."""


def _reader(bootstrap: str) -> Reader:
    settings = CONNECTION | CONSUMER | {"bootstrap.servers": bootstrap, "group.id": "none"}
    return Reader(settings, lambda _: None)


def test_a_reader_goes_on(kafka_broker: Server) -> None:
    name = topic(kafka_broker)
    fill(kafka_broker, name, [b"a"])
    reader, found = _reader(NOWHERE), list[Messages]()
    reader.assign([(Input(name, 0), 0)])
    assert reader.poll(9, 0.3, Pace()) is None
    reader._bootstrap = kafka_broker.bootstrap.encode()
    reader.note(time.monotonic() + REMIND_S, news=False)

    def come() -> bool:
        if messages := reader.poll(9, 0.1, Pace()):
            found.append(messages)
        return any(b"a" in list(each.values) for each in found)

    until(come)
    reader.close()


def test_a_writer_goes_on(kafka_broker: Server) -> None:
    name = topic(kafka_broker)
    settings = CONNECTION | PRODUCER | {"bootstrap.servers": NOWHERE}
    writer = Writer(settings, name, lambda _: None, lambda _: None, None)
    writer.send(0, Payloads.of([b"a"]), None, None)
    writer.serve(0.3)
    assert len(writer) == 1
    writer._bootstrap = kafka_broker.bootstrap.encode()
    writer.note(time.monotonic() + REMIND_S, news=False)
    deadline = time.monotonic() + PATIENCE_S
    while len(writer) and time.monotonic() < deadline:
        writer.serve(0.1)
    assert not len(writer)
    writer.close()


@pytest.mark.parametrize("seconds", [REMIND_S / 2, REMIND_S + 1])
def test_who_has_nothing_to_hear_is_reminded_now_and_then(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = list[bytes]()
    monkeypatch.setattr(
        "streams.kafka.handle.at_once.brokers_add", lambda _, where: told.append(where)
    )
    reader = _reader(NOWHERE)
    now = time.monotonic()
    reader.note(now, news=True)
    reader.note(now + seconds, news=False)
    reader.note(now + seconds, news=False)
    assert told == [NOWHERE.encode()] * (seconds > REMIND_S)
    monkeypatch.undo()
    reader.close()
