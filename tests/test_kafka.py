"""A real Kafka behind the seam: what comes back, and what becomes of it in outages."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from threading import Barrier, Thread
from time import monotonic

import pytest

pytest.importorskip("confluent_kafka")

from jobs.stack.kafka import Kafka as Server
from jobs.stack.ports import free_port
from streams.broker import NEVER, Input
from streams.errors import HeadraceError, InputError, OutputError, StateError
from streams.kafka import Kafka, cluster, settings
from streams.kafka.consumer import KafkaConsumer
from streams.timestamps import time_text
from tests.kafka_clients import (
    PATIENCE_S,
    committed,
    delete,
    fill,
    grow,
    read,
    remake,
    topic,
    until,
    values,
)
from tests.kafka_server import unique


def many(count: int, of: str = "") -> list[bytes]:
    return [f"{of}{place}".encode() for place in range(count)]


def reader(server: Server, *topics: str) -> KafkaConsumer:
    """A consumer without group of partition 0 of each topic, from its beginning."""
    consumer = Kafka(server.bootstrap).consumer([Input(name, 0) for name in topics])
    consumer.seek([0] * len(topics))
    return consumer


def fails(consumer: KafkaConsumer) -> str:
    """Poll until it raises, and return what it says."""
    with pytest.raises(HeadraceError) as raised:
        until(lambda: consumer.poll(1000, 0.1) and False)
    return str(raised.value)


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
    assert run.values == [b"a", b"b", None, b"d"]
    assert run.keys == [b"k", None, b"k", b""]
    assert [each and list(each) for each in run.headers] == headers
    assert run.offsets == [0, 1, 2, 3]
    assert len({time_text(stamp)[:10] for stamp in run.stamps}) == 1
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


# One owner a group


def test_a_group_that_is_owned_is_refused_with_the_name_of_its_owner(kafka_broker: Server) -> None:
    inputs, group = [Input(topic(kafka_broker), 0)], unique("group")
    broker = Kafka(kafka_broker.bootstrap)
    owner = broker.consumer(inputs, group, "host-a:/state")
    with pytest.raises(StateError, match=f"{group}: .*host-a:/state.* owns it") as raised:
        broker.consumer(inputs, group, "host-b:/state")
    assert "\n" not in str(raised.value)
    owner.close()
    broker.consumer(inputs, group, "host-b:/state").close()


OWNER = """
import sys
from streams.broker import Input
from streams.kafka import Kafka
bootstrap, topic, group = sys.argv[1:]
consumer = Kafka(bootstrap).consumer([Input(topic, 0)], group, "me")
consumer.seek([0])
print("ready", flush=True)
while True:
    for run in consumer.poll(10, 0.1):
        consumer.commit([run.offsets[-1] + 1])
"""


def test_the_place_of_a_killed_predecessor_is_taken_at_once(kafka_broker: Server) -> None:
    name, group = topic(kafka_broker), unique("group")
    fill(kafka_broker, name, many(10))
    command = [sys.executable, "-c", OWNER, kafka_broker.bootstrap, name, group]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.kill()
    broker = Kafka(kafka_broker.bootstrap)
    with pytest.raises(StateError, match="counts as alive"):
        broker.consumer([Input(name, 0)], group, "another")
    begun = monotonic()
    consumer = broker.consumer([Input(name, 0)], group, "me")
    assert monotonic() - begun < settings.SESSION_MS / 4000
    consumer.seek([0])
    assert values(read(consumer, 10)) == many(10)
    consumer.commit([10])
    until(lambda: consumer.poll(1, 0.1) or consumer.committed() == [10])
    consumer.close()


def test_who_was_taken_over_is_told_and_commits_nothing(kafka_broker: Server) -> None:
    inputs, group = [Input(topic(kafka_broker), 0)], unique("group")
    broker = Kafka(kafka_broker.bootstrap)
    first = broker.consumer(inputs, group, "me")
    second = broker.consumer(inputs, group, "me")
    second.commit([7])
    with suppress(StateError):
        first.commit([3])
    said = fails(first)
    assert said.startswith(f"group {group}: wanted to stay in it, but another process took over")
    assert said.split(";")[0].endswith(":me")
    first.close()
    until(lambda: second.poll(1, 0.1) or second.committed() == [7])
    second.close()


def test_of_two_that_start_at_the_same_time_one_survives(kafka_broker: Server) -> None:
    inputs, group = [Input(topic(kafka_broker), 0)], unique("group")
    start, ended = Barrier(2), dict[str, str]()
    living: dict[str, KafkaConsumer] = {}

    def run(owner: str) -> None:
        broker = Kafka(kafka_broker.bootstrap)
        broker.partitions(())
        start.wait()
        try:
            living[owner] = broker.consumer(inputs, group, owner)
            until(lambda: living[owner].poll(1, 0.1) or ended)
        except StateError as error:
            ended[owner] = str(error)

    threads = [Thread(target=run, args=(owner,)) for owner in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((loser, said),) = ended.items()
    (survivor,) = {"a", "b"} - {loser}
    assert f":{survivor} since " in said
    consumer = living[survivor]
    consumer.commit([1])
    until(lambda: consumer.poll(1, 0.1) or consumer.committed() == [1])
    consumer.close()


def test_without_a_group_nothing_can_be_committed(kafka_broker: Server) -> None:
    with pytest.raises(ValueError, match="group"):
        reader(kafka_broker, topic(kafka_broker)).commit([1])


# Outages


@pytest.fixture
def quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing is printed."""
    yield
    assert capfd.readouterr() == ("", "")


def test_a_broker_that_is_killed_and_comes_back_loses_nothing_and_keeps_the_order(
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
    runs += read(consumer, 200)
    assert values(runs) == many(100) + many(100, "lost?") + many(100, "after")
    assert producer.flush(PATIENCE_S)
    assert producer.acknowledged == 300
    consumer.commit([300])
    until(lambda: consumer.poll(1, 0.1) or consumer.committed() == [300])
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
