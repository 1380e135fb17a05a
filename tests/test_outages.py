"""What happens to the score job when something around it is away, full, or not as it should be."""

from __future__ import annotations

import os
import time
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path

import orjson
import pytest

from jobs.clients.topics import create_topics
from jobs.load.usage import usage
from jobs.stack.kafka import Kafka
from jobs.stack.ports import free_port
from jobs.stack.redis import Redis
from tests.deployment import Deployment, transaction, until
from tests.kafka_server import unique

OUTAGE_S = float(os.environ.get("HEADRACE_OUTAGE_S", "4"))
"""How long something is away; `make prove` says 30."""
DELIVERIES = ["at-least-once", "exactly-once"]


def last_for_the_outage() -> None:
    time.sleep(OUTAGE_S)  # an outage is time that passes: there is no condition to wait for


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_broker_that_is_away_is_waited_for(
    own_kafka: Kafka, tmp_path: Path, delivery: str
) -> None:
    here = Deployment(own_kafka, tmp_path, delivery=delivery)
    with here.running() as job:
        here.pay(0, 300)
        here.wait_for(300, job)
        here.wait_until_committed(300, job)
        own_kafka.kill()
        last_for_the_outage()
        own_kafka.start()
        here.pay(300, 300)
        ids = here.wait_for(600, job)
        assert job.process.poll() is None, job.log()
    assert Counter(ids) == Counter(f"t{n}" for n in range(600))


def test_a_broker_that_is_away_shows_though_there_is_nothing_to_do_and_costs_no_processor(
    own_kafka: Kafka, tmp_path: Path
) -> None:
    port = free_port()
    here = Deployment(own_kafka, tmp_path, metrics_port=port)
    with here.running() as job:
        until(lambda: readiness(port) == "ready\n", "a job that is ready", job.log)
        own_kafka.kill()
        until(lambda: "broker: " in readiness(port), "a job that is not ready", job.log)
        before = usage(job.process.pid).cpu_seconds
        last_for_the_outage()
        # It takes a thirtieth of a core; asking the broker without a pause took all of one.
        assert usage(job.process.pid).cpu_seconds - before < OUTAGE_S / 3
        own_kafka.start()
        until(lambda: readiness(port) == "ready\n", "a job that is ready again", job.log)
        here.pay(0, 10)
        here.wait_for(10, job)
        assert job.stop() == 0, job.log()
    assert job.log().count("does not answer") == job.log().count("answers again") == 1
    assert "FAIL" not in job.log()


def readiness(port: int) -> str:
    """What /readyz says; nothing while nobody answers there."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().read().decode()
    except ConnectionRefusedError:
        return ""
    finally:
        connection.close()


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_broker_that_stalls_under_load_costs_no_prediction_and_little_memory(
    own_kafka: Kafka, tmp_path: Path, delivery: str
) -> None:
    here = Deployment(own_kafka, tmp_path, delivery=delivery)
    here.pay(0, 60_000)
    with here.running() as job:
        here.wait_for(1, job)
        own_kafka.pause()
        last_for_the_outage()
        stalled = job.rss_mb()
        own_kafka.resume()
        ids = here.wait_for(60_000, job)
        assert job.rss_mb() < stalled + 300
    assert Counter(ids) == Counter(f"t{n}" for n in range(60_000))


def test_a_job_that_stalls_keeps_its_group_and_goes_on(kafka_broker: Kafka, tmp_path: Path) -> None:
    here = Deployment(kafka_broker, tmp_path)
    with here.running() as job:
        here.pay(0, 100)
        here.wait_for(100, job)
        job.stall()
        here.pay(100, 5_000)
        last_for_the_outage()
        job.go_on()
        ids = here.wait_for(5_100, job)
        assert job.stop() == 0, job.log()
    assert ids == [f"t{n}" for n in range(5_100)]


def test_redis_away_costs_no_prediction_and_is_caught_up(
    kafka_broker: Kafka, own_redis: Redis, tmp_path: Path
) -> None:
    redis = pytest.importorskip("redis")
    here = Deployment(kafka_broker, tmp_path, online=own_redis.address)
    with here.running() as job:
        here.pay(0, 100)
        here.wait_for(100, job)
        own_redis.kill()
        here.pay(100, 400)
        here.wait_for(500, job)
        own_redis.start()
        client = redis.Redis.from_url(own_redis.address)
        until(lambda: client.dbsize() >= 70, "50 customers and 20 terminals", job.log)
        client.close()
        assert job.stop() == 0, job.log()


def test_a_full_disk_ends_the_job_with_a_clear_line_and_room_lets_it_go_on(
    kafka_broker: Kafka, small_disk: Path, tmp_path: Path
) -> None:
    here = Deployment(kafka_broker, tmp_path, state=small_disk / "state", delivery="exactly-once")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    with here.running() as job:
        here.pay(0, 20_000)
        assert job.ended() == 1
        assert "No space left on device" in job.log()
    ballast.unlink()
    with here.running(name="again") as job:
        ids = here.wait_for(1, job)
        assert len(ids) == len(set(ids))


def test_a_topic_that_is_deleted_and_made_anew_is_read_from_its_start_with_new_state(
    kafka_broker: Kafka, tmp_path: Path
) -> None:
    from kafka.admin import KafkaAdminClient

    here = Deployment(kafka_broker, tmp_path)
    admin = KafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap)
    with here.running() as job:
        here.pay(0, 100)
        here.wait_for(100, job)
        admin.delete_topics([here.prefix + "transactions"])
        assert job.ended() == 1
        assert "make it with `headrace topics create`" in job.log()
    until(
        lambda: here.prefix + "transactions" in create_topics(kafka_broker.bootstrap, here.prefix),
        "the topic to be gone and made",
        str,
    )
    admin.close()
    here.pay(100, 50)
    with here.running(name="old") as job:
        assert job.ended() == 1
        assert "it was made anew; begin with a new --state and a new --group" in job.log()
    new = {"state": tmp_path / "new", "group": unique("new")}
    with here.running(name="new", **new) as job:
        ids = here.wait_for(150, job)
    assert ids[100:] == [f"t{n}" for n in range(100, 150)]


def test_a_second_job_on_the_same_folder_is_refused(kafka_broker: Kafka, tmp_path: Path) -> None:
    here = Deployment(kafka_broker, tmp_path)
    with here.running() as first:
        first.began()
        with here.running(name="second", group=unique("other")) as second:
            assert second.ended() == 1
            assert "wanted the state folder alone, but pid" in second.log()
        here.pay(0, 10)
        assert here.wait_for(10, first) == [f"t{n}" for n in range(10)]


def test_a_second_job_in_the_same_group_is_refused(kafka_broker: Kafka, tmp_path: Path) -> None:
    here = Deployment(kafka_broker, tmp_path)
    with here.running() as first:
        first.began()
        with here.running(name="second", state=tmp_path / "other") as second:
            assert second.ended() == 1
            assert "wanted it alone, but" in second.log()
        here.pay(0, 10)
        assert here.wait_for(10, first) == [f"t{n}" for n in range(10)]


def test_garbage_and_a_record_of_20_mb_become_dead_letters(
    own_kafka: Kafka, tmp_path: Path
) -> None:
    from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

    here = Deployment(own_kafka, tmp_path)
    admin = KafkaAdminClient(bootstrap_servers=own_kafka.bootstrap)
    room = {"max.message.bytes": str(32 << 20)}
    topic = ConfigResource(ConfigResourceType.TOPIC, here.prefix + "transactions", room)
    admin.alter_configs([topic])
    admin.close()
    garbage = [b"{", b"\xff\xfe", b"[]", transaction(1, amount="much"), transaction(2, amount=9)]
    with here.running() as job:
        here.send(
            "transactions",
            [transaction(n) if n % 100 else garbage[n // 100 % 5] for n in range(1000)],
        )
        huge = transaction(5000, note="x" * (20 << 20))
        here.send("transactions", [huge])
        here.pay(1000, 10)
        ids = here.wait_for(1000, job)
        until(lambda: len(here.read("dead-letters")) >= 11, "11 dead letters", job.log)
        assert job.rss_mb() < 1500
    assert len(ids) == 1000
    letters = here.read("dead-letters")
    twice = ("not an object", "wrong type", "conflicting id")
    reasons = {"not JSON": 4, **dict.fromkeys(twice, 2), "too large": 1}
    assert Counter(each["reason"] for each in letters) == reasons
    (large,) = (each for each in letters if each["reason"] == "too large")
    assert large["offset"] == 1000
    assert len(large["raw"]) < 100_000


def test_events_of_years_ago_are_scored_and_kept(kafka_broker: Kafka, tmp_path: Path) -> None:
    here = Deployment(kafka_broker, tmp_path)
    with here.running() as job:
        old = [transaction(n, time=f"2018-04-0{1 + n % 9}T10:00:00Z") for n in range(90)]
        here.send("transactions", sorted(old, key=lambda each: orjson.loads(each)["time"]))
        assert len(here.wait_for(90, job)) == 90


def test_a_label_stamped_in_the_future_is_a_dead_letter_and_moves_no_watermark(
    kafka_broker: Kafka, tmp_path: Path
) -> None:
    here = Deployment(kafka_broker, tmp_path)
    with here.running() as job:
        here.pay(0, 20)
        here.wait_for(20, job)
        ahead = {"id": "t3", "time": "2150-01-01T00:00:00Z", "fraud": True}
        here.send("labels", [orjson.dumps(ahead)])
        until(lambda: len(here.read("dead-letters")) == 1, "a dead letter", job.log)
        here.pay(20, 20)
        here.wait_for(40, job)
    assert here.read("dead-letters")[0]["reason"] == "time too far ahead"
    assert all(not told["numbers"] for told in here.read("outcomes"))
