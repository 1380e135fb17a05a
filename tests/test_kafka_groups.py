"""One owner a group, on a real Kafka: who is refused, who takes over, who is told."""

import subprocess
import sys
from contextlib import suppress
from threading import Barrier, Thread
from time import monotonic

import pytest

pytest.importorskip("confluent_kafka")

from jobs.stack.kafka import Kafka as Server
from streams.broker import NEVER, Input
from streams.errors import StateError
from streams.kafka import Kafka, settings
from streams.kafka import consumer as consumer_module
from streams.kafka.consumer import KafkaConsumer
from streams.kafka.library import client
from tests.kafka_clients import (
    fails,
    fill,
    many,
    read,
    reader,
    topic,
    until,
    values,
)
from tests.kafka_server import unique


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
    assert said.split(";")[0].endswith(" as me")
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
    assert f" of {survivor} since " in said
    consumer = living[survivor]
    consumer.commit([1])
    until(lambda: consumer.poll(1, 0.1) or consumer.committed() == [1])
    consumer.close()


def test_without_a_group_nothing_can_be_committed(kafka_broker: Server) -> None:
    with pytest.raises(ValueError, match="group"):
        reader(kafka_broker, topic(kafka_broker)).commit([1])


def test_positions_that_wait_for_a_transaction_without_an_end_say_so(
    kafka_broker: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "ANSWER_S", 1.0)
    name, group = topic(kafka_broker), unique("group")
    consumer = Kafka(kafka_broker.bootstrap).consumer([Input(name, 0)], group, "me")
    other = client.Producer({**kafka_broker.client(), "transactional.id": unique("other")})
    other.init_transactions(10)
    other.begin_transaction()
    of_the_group = client.Consumer({**kafka_broker.client(), "group.id": group})
    other.send_offsets_to_transaction(
        [client.TopicPartition(name, 0, 5)], of_the_group.consumer_group_metadata(), 10
    )
    of_the_group.close()
    with pytest.raises(StateError, match=f"{group}, but a transaction .* has no end"):
        consumer.committed()
    other.abort_transaction(10)
    assert consumer.committed() == [NEVER]
    consumer.close()
