"""A real Kafka behind the seam: what comes back, and what is there for all to read."""

from time import monotonic

import pytest

pytest.importorskip("confluent_kafka")

from jobs.stack.kafka import Kafka as Server
from streams.broker import NEVER, Input
from streams.errors import OutputError, StateError
from streams.kafka import Kafka
from streams.timestamps import time_text
from tests.kafka_clients import (
    PATIENCE_S,
    committed,
    fill,
    many,
    read,
    reader,
    topic,
    until,
    values,
)
from tests.kafka_server import unique

# Records


def test_records_come_back_in_order_with_keys_headers_and_the_time_of_appending(
    kafka_broker: Server,
) -> None:
    name = topic(kafka_broker)
    producer = Kafka(kafka_broker.bootstrap).producer()
    headers = [[("trace", b"1"), ("empty", None)], None] * 2
    before = monotonic()
    producer.send(name, [b"a", b"b", None, b"d"], [b"k", None, b"k", b""], headers)
    assert producer.flush(PATIENCE_S)
    (run,) = read(reader(kafka_broker, name), 4)
    assert list(run.values) == [b"a", b"b", None, b"d"]
    assert list(run.keys) == [b"k", None, b"k", b""]
    assert [each and list(each) for each in run.each_headers()] == headers
    assert run.offsets.tolist() == [0, 1, 2, 3]
    assert len({time_text(stamp)[:10] for stamp in run.stamps.tolist()}) == 1
    assert monotonic() - before < PATIENCE_S


def test_a_run_is_of_one_input_and_every_input_keeps_its_order(kafka_broker: Server) -> None:
    names = [topic(kafka_broker), topic(kafka_broker, partitions=2)]
    broker = Kafka(kafka_broker.bootstrap)
    producer = broker.producer()
    keys = [f"k{place % 7}".encode() for place in range(300)]
    for name in names:
        producer.send(name, many(300), keys)
    assert producer.flush(PATIENCE_S)
    inputs = [Input(names[0], 0), Input(names[1], 0), Input(names[1], 1)]
    consumer = broker.consumer(inputs)
    assert consumer.bounds()[0] == (0, 300)
    consumer.seek([0, 0, 0])
    runs = read(consumer, 600, limit=50)
    of_each = [[int(value or b"") for value in values(runs, place)] for place in range(3)]
    assert of_each[0] == list(range(300))
    assert all(each == sorted(each) for each in of_each)
    assert sorted(of_each[1] + of_each[2]) == list(range(300))
    assert consumer.ends() == [300, len(of_each[1]), len(of_each[2])]


def test_a_key_is_in_the_partition_that_other_clients_give_it(kafka_broker: Server) -> None:
    from kafka.partitioner.default import murmur2

    name = topic(kafka_broker, partitions=5)
    broker = Kafka(kafka_broker.bootstrap)
    producer = broker.producer()
    producer.send(name, many(50), many(50, "customer"))
    assert producer.flush(PATIENCE_S)
    consumer = broker.consumer([Input(name, place) for place in range(5)])
    consumer.seek([0] * 5)
    for run in read(consumer, 50):
        assert {(murmur2(key) & 0x7FFFFFFF) % 5 for key in run.keys} == {run.input}


def test_reading_begins_and_goes_on_where_it_is_told(kafka_broker: Server) -> None:
    name = topic(kafka_broker)
    fill(kafka_broker, name, many(10))
    consumer = reader(kafka_broker, name)
    consumer.seek([7])
    assert values(read(consumer, 3)) == many(10)[7:]
    consumer.seek([2])
    assert values(read(consumer, 8)) == many(10)[2:]


def test_of_a_paused_input_nothing_comes_and_nothing_is_lost(kafka_broker: Server) -> None:
    names = [topic(kafka_broker), topic(kafka_broker)]
    for name in names:
        fill(kafka_broker, name, many(500))
    consumer = reader(kafka_broker, *names)
    first = read(consumer, 10, limit=10)
    paused = first[0].input
    consumer.pause([paused])
    left = 500 - len(values(first, 1 - paused))
    rest = read(consumer, left, limit=20)
    assert {run.input for run in rest} <= {1 - paused}
    assert consumer.ends()[paused] == 500
    consumer.pause([])
    both = first + rest + read(consumer, 500 - len(values(first, paused)))
    assert values(both, 0) == values(both, 1) == many(500)


# How far records have arrived


def test_a_producer_says_how_many_of_the_first_records_have_all_arrived(
    own_kafka: Server,
) -> None:
    names = [topic(own_kafka), topic(own_kafka, partitions=3)]
    producer = Kafka(own_kafka.bootstrap).producer()
    for name in names:
        producer.send(name, [b"warm"])
    assert producer.flush(PATIENCE_S)
    assert (producer.waiting, producer.acknowledged) == (0, 2)
    own_kafka.pause()
    for name in names:
        producer.send(name, many(100))
    producer.poll(0.1)
    assert (producer.waiting, producer.acknowledged) == (200, 2)
    own_kafka.resume()
    until(lambda: producer.flush(0.1))
    assert producer.acknowledged == 202


def test_a_record_that_its_topic_does_not_take_ends_the_producer(kafka_broker: Server) -> None:
    name = topic(kafka_broker, max_message_bytes="2000")
    producer = Kafka(kafka_broker.bootstrap).producer()
    producer.send(name, [b"x" * 5000])
    with pytest.raises(OutputError, match=rf"{name}: .*max\.message\.bytes"):
        producer.flush(PATIENCE_S)
    with pytest.raises(OutputError, match=name):
        producer.send(name, [b"x"])


# Positions and transactions


def test_positions_are_never_until_they_are_committed(kafka_broker: Server) -> None:
    inputs = [Input(topic(kafka_broker), 0), Input(topic(kafka_broker), 0)]
    consumer = Kafka(kafka_broker.bootstrap).consumer(inputs, unique("group"), "me")
    assert consumer.committed() == [NEVER, NEVER]
    consumer.commit([3, NEVER])
    consumer.commit([5, NEVER])
    until(lambda: consumer.poll(1, 0.1) or consumer.committed() == [5, NEVER])
    consumer.close()


def test_closing_waits_for_the_commit(kafka_broker: Server) -> None:
    inputs, group = [Input(topic(kafka_broker), 0)], unique("group")
    broker = Kafka(kafka_broker.bootstrap)
    consumer = broker.consumer(inputs, group, "me")
    consumer.commit([5])
    consumer.close()
    again = broker.consumer(inputs, group, "me")
    assert again.committed() == [5]
    again.close()


def test_output_and_positions_become_visible_together_or_not_at_all(kafka_broker: Server) -> None:
    source, sink, group = topic(kafka_broker), topic(kafka_broker), unique("group")
    broker = Kafka(kafka_broker.bootstrap)
    consumer = broker.consumer([Input(source, 0)], group, "me")
    producer = broker.producer(unique("id"))
    producer.begin()
    producer.send(sink, [b"dropped"])
    producer.flush(PATIENCE_S)
    producer.close()
    producer = broker.producer(unique("id"))
    for position in (1, 2):
        producer.begin()
        producer.send(sink, [f"{position}".encode()])
        assert producer.commit(consumer, [position])
    assert (producer.acknowledged, producer.waiting) == (2, 0)
    assert consumer.committed() == [2]
    seen = reader(kafka_broker, sink)
    runs = read(seen, 2)
    assert values(runs) == [b"1", b"2"]
    assert runs[0].offsets[0] == 2, "the aborted record and its mark are gaps"
    assert seen.bounds()[0][1] > runs[-1].offsets[-1] + 1, "and so is the last mark"
    until(lambda: seen.poll(1, 0.1) or seen.ends() == [runs[-1].offsets[-1] + 1])
    consumer.close()


def test_what_is_not_committed_is_not_read_and_holds_up_nothing_else(
    kafka_broker: Server,
) -> None:
    names = [topic(kafka_broker), topic(kafka_broker)]
    broker = Kafka(kafka_broker.bootstrap)
    producer = broker.producer(unique("id"))
    producer.begin()
    producer.send(names[0], [b"open"])
    producer.flush(PATIENCE_S)
    fill(kafka_broker, names[1], many(3))
    consumer = reader(kafka_broker, *names)
    assert values(read(consumer, 3), 1) == many(3)
    until(lambda: consumer.poll(1, 0.1) or consumer.ends() == [0, 3])
    producer.close()


def test_a_second_producer_of_an_id_fences_the_first(kafka_broker: Server) -> None:
    source, sink, name = topic(kafka_broker), topic(kafka_broker), unique("id")
    broker = Kafka(kafka_broker.bootstrap)
    consumer = broker.consumer([Input(source, 0)], unique("group"), "me")
    first = broker.producer(name)
    first.begin()
    first.send(sink, [b"first"])
    assert first.flush(PATIENCE_S)
    second = broker.producer(name)
    with pytest.raises(StateError, match="another instance has taken over"):
        first.commit(consumer, [1])
    second.begin()
    second.send(sink, [b"second"])
    assert second.commit(consumer, [2])
    assert committed(kafka_broker, sink, 1) == [b"second"]
    assert consumer.committed() == [2]
    first.close()
    consumer.close()


def test_a_transaction_that_cannot_be_leaves_nothing_behind(kafka_broker: Server) -> None:
    source, sink = topic(kafka_broker), topic(kafka_broker, max_message_bytes="2000")
    broker = Kafka(kafka_broker.bootstrap)
    consumer = broker.consumer([Input(source, 0)], unique("group"), "me")
    producer = broker.producer(unique("id"))
    producer.begin()
    producer.send(sink, [b"good", b"x" * 5000])
    with pytest.raises(OutputError, match=r"max\.message\.bytes"):
        producer.commit(consumer, [1])
    with pytest.raises(OutputError, match=r"max\.message\.bytes"):
        producer.begin()
    fill(kafka_broker, sink, [b"next"])
    assert committed(kafka_broker, sink, 1) == [b"next"]
    assert consumer.committed() == [NEVER]
    consumer.close()
