"""A real Kafka that is away, and topics that are not what they were."""

from collections.abc import Iterator
from contextlib import suppress
from time import monotonic

import pytest

pytest.importorskip("confluent_kafka")

from jobs.stack.kafka import Kafka as Server
from jobs.stack.ports import free_port
from streams.broker import Input
from streams.errors import InputError, OutputError
from streams.kafka import Kafka, cluster, settings
from tests.kafka_clients import (
    PATIENCE_S,
    committed,
    delete,
    fails,
    fill,
    grow,
    many,
    read,
    reader,
    remake,
    topic,
    until,
    values,
)
from tests.kafka_server import unique

# Outages


@pytest.fixture
def quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing is printed."""
    yield
    assert capfd.readouterr() == ("", "")


def test_a_broker_that_is_killed_loses_nothing_and_repeats_at_most_the_request_under_way(
    own_kafka: Server, quiet: None
) -> None:
    name, group = topic(own_kafka), unique("group")
    broker = Kafka(own_kafka.bootstrap)
    producer, consumer = broker.producer(), broker.consumer([Input(name, 0)], group, "me")
    consumer.seek([0])
    producer.send(name, many(100))
    runs = read(consumer, 100)
    producer.send(name, many(100, "lost?"))
    own_kafka.kill()
    producer.send(name, many(100, "after"))
    producer.poll(0.1)
    assert producer.waiting >= 100
    assert producer.acknowledged <= 200
    consumer.commit([100])
    own_kafka.start()
    assert producer.flush(PATIENCE_S)
    assert producer.acknowledged == 300
    end = consumer.bounds()[0][1]
    found = values([*runs, *read(consumer, end - 100)])
    whole, again = many(100) + many(100, "lost?") + many(100, "after"), end - 300
    # Its answer was lost with the broker, so it was made again before any other.
    stops = range(100 + again, 201)
    assert again == 0 or found in [whole[:stop] + whole[stop - again :] for stop in stops]
    assert again or found == whole
    consumer.commit([end])
    until(lambda: consumer.poll(1, 0.1) or consumer.committed() == [end])
    consumer.close()
    producer.close()


def test_a_transaction_that_an_outage_interrupts_is_committed_after_it(
    own_kafka: Server, quiet: None
) -> None:
    source, sink = topic(own_kafka), topic(own_kafka)
    broker = Kafka(own_kafka.bootstrap)
    consumer = broker.consumer([Input(source, 0)], unique("group"), "me")
    producer = broker.producer(unique("id"))
    producer.begin()
    producer.send(sink, [b"1"])
    assert producer.commit(consumer, [1])
    producer.begin()
    producer.send(sink, [b"2"])
    own_kafka.kill()
    assert not producer.commit(consumer, [2], 0.2)
    own_kafka.start()
    until(lambda: consumer.poll(1, 0.0) or producer.commit(consumer, [2], 0.5))
    assert committed(own_kafka, sink, 2) == [b"1", b"2"]
    assert consumer.committed() == [2]
    consumer.close()
    producer.close()


def test_an_outage_longer_than_the_session_ends_with_reading_on(
    own_kafka: Server, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings.CONSUMER, "session.timeout.ms", 6000)
    name, sink = topic(own_kafka), topic(own_kafka)
    broker = Kafka(own_kafka.bootstrap)
    consumer = broker.consumer([Input(name, 0)], unique("group"), "me")
    producer = broker.producer(unique("id"))
    consumer.seek([0])
    fill(own_kafka, name, many(10))
    read(consumer, 10)
    own_kafka.kill()
    until(lambda: consumer.poll(1, 0.1) or consumer._lost)
    own_kafka.start()
    fill(own_kafka, name, many(10, "more"))
    assert values(read(consumer, 10)) == many(10, "more")
    producer.begin()
    producer.send(sink, [b"done"])
    assert producer.commit(consumer, [20], PATIENCE_S)
    assert consumer.committed() == [20]
    consumer.close()


def test_closing_does_not_wait_for_a_broker_that_is_away(own_kafka: Server, quiet: None) -> None:
    name = topic(own_kafka)
    broker = Kafka(own_kafka.bootstrap)
    consumer = broker.consumer([Input(name, 0)], unique("group"), "me")
    producers = [broker.producer(), broker.producer(unique("id"))]
    producers[1].begin()
    for producer in producers:
        producer.send(name, [b"x"])
    own_kafka.kill()
    consumer.commit([1])
    begun = monotonic()
    for each in (*producers, consumer):
        each.close()
    assert monotonic() - begun < 15


def test_a_broker_that_does_not_answer_is_named_after_a_while(
    quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cluster.ANSWER_S == 10
    monkeypatch.setattr(cluster, "ANSWER_S", 1.0)
    bootstrap, begun = f"127.0.0.1:{free_port()}", monotonic()
    with pytest.raises(InputError, match=f"{bootstrap}: .*Connection refused; check") as raised:
        Kafka(bootstrap).partitions(["transactions"])
    assert monotonic() - begun < 10
    assert "\n" not in str(raised.value)


# Topics that are not what they were


def test_missing_topics_are_named_with_the_command_that_makes_them(kafka_broker: Server) -> None:
    there, broker = topic(kafka_broker, partitions=3), Kafka(kafka_broker.bootstrap)
    assert broker.partitions([there]) == {there: 3}
    with pytest.raises(InputError, match=r"none named no-a, no-b; .*headrace topics create"):
        broker.partitions(["no-a", there, "no-b"])
    with pytest.raises(InputError, match="headrace topics create"):
        broker.consumer([Input("no-a", 0)])
    with pytest.raises(InputError, match="headrace topics create"):
        broker.producer().send("no-a", [b""])


def test_a_topic_that_was_made_anew_has_another_id(kafka_broker: Server) -> None:
    name, broker = topic(kafka_broker), Kafka(kafka_broker.bootstrap)
    before = broker.topic_ids([name])
    assert broker.topic_ids([name]) == before
    delete(kafka_broker, name)
    until(lambda: not _made_again(kafka_broker, name))
    assert broker.topic_ids([name]) != before


def _made_again(server: Server, name: str) -> bool:
    with suppress(Exception):
        remake(server, name)
        return False
    return True


def test_a_topic_that_is_deleted_while_it_is_read_or_written_ends_that(
    kafka_broker: Server,
) -> None:
    name = topic(kafka_broker)
    fill(kafka_broker, name, many(3))
    consumer, producer = reader(kafka_broker, name), Kafka(kafka_broker.bootstrap).producer()
    read(consumer, 3)
    producer.send(name, [])
    delete(kafka_broker, name)
    assert name in fails(consumer)
    with pytest.raises(OutputError, match=f"{name}: .*deleted"):
        until(lambda: producer.poll(0.1))


def test_a_topic_that_is_made_anew_is_never_read_on_as_if_it_were_the_old_one(
    kafka_broker: Server,
) -> None:
    name = topic(kafka_broker)
    fill(kafka_broker, name, many(3))
    consumer = reader(kafka_broker, name)
    read(consumer, 3)
    delete(kafka_broker, name)
    until(lambda: not _made_again(kafka_broker, name))
    assert "made anew" in fails(consumer)


def test_a_topic_that_is_given_partitions_is_to_be_opened_again(kafka_broker: Server) -> None:
    name = topic(kafka_broker)
    consumer = reader(kafka_broker, name)
    grow(kafka_broker, name, 2)
    assert f"{name}: wanted its 1 partitions, got 2" in fails(consumer)


def test_a_position_that_is_not_there_is_an_error_and_no_jump(kafka_broker: Server) -> None:
    name = topic(kafka_broker)
    consumer = reader(kafka_broker, name)
    consumer.seek([77])
    assert "forgotten that part" in fails(consumer)
