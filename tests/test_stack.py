"""Local services come up, stay known, survive outages and go away without leftovers."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from redis import Redis as Client

from jobs.commands import headrace
from jobs.stack import jars
from jobs.stack.doctor import Verdict, findings
from jobs.stack.flink import Flink, FlinkSettings
from jobs.stack.jars import KAFKA_VERSION, Jar, fetch, locked
from jobs.stack.kafka import Kafka
from jobs.stack.ports import HOST, free_port
from jobs.stack.redis import Redis, RedisSettings
from streams.errors import ConfigError, InputError, ServiceError
from tests.kafka_server import new_kafka, new_redis, unique


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def processes_of(folder: Path) -> list[int]:
    """Return every process whose command line names the folder, those that end excepted."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            named = str(folder) in (entry / "cmdline").read_text(errors="replace")
        except OSError:
            continue
        if named and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def listening(port: int) -> set[str]:
    """Return the addresses on which a port is listened to, as the kernel writes them."""
    lines = [
        line.split()
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]
    ]
    places = [line[1].split(":") for line in lines if line[3] == "0A"]
    return {address for address, number in places if int(number, 16) == port}


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}


def send(broker: Kafka, topic: str, value: bytes) -> None:
    producer = Producer({**broker.client(), "acks": "all", "message.timeout.ms": 60_000})
    errors = []
    producer.produce(topic, value, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(60) == 0
    assert errors == [None]


def first(broker: Kafka, topic: str) -> bytes | None:
    consumer = Consumer({**broker.client(), "group.id": "test", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(60)
    consumer.close()
    return None if message is None else bytes(message.value())


def make_topic(broker: Kafka, name: str) -> str:
    admin = AdminClient(broker.client())
    admin.create_topics([NewTopic(name, 1)])[name].result(60)
    return name


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Return a broker of this file's own, up."""
    broker = new_kafka(tmp_path_factory.mktemp("outages") / "kafka")
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


def test_a_killed_broker_comes_back_on_its_port_with_its_records(broker: Kafka) -> None:
    topic = make_topic(broker, "kept")
    send(broker, topic, b"before")
    assert not broker.start()
    broker.kill()
    assert broker.pid is None
    again = Kafka.at(broker.folder)
    assert again is not None and again.start()
    assert first(broker, topic) == b"before"


def test_a_paused_broker_does_not_answer_until_it_is_resumed(broker: Kafka) -> None:
    broker.pause()
    assert broker.pid is not None and not broker.answers()
    broker.resume()
    wait_for(broker.answers)


def test_the_services_listen_on_loopback_only(kafka_broker: Kafka, redis_server: Redis) -> None:
    for service in (kafka_broker, redis_server):
        for port in service.ports(service.processes[0]):
            assert listening(port.number) and listening(port.number) <= LOOPBACK


def test_a_topic_that_nobody_made_is_not_made_by_asking_for_it(kafka_broker: Kafka) -> None:
    name = unique("unmade")
    admin = AdminClient(kafka_broker.client())
    assert admin.list_topics(name, timeout=10).topics[name].error is not None
    assert name not in admin.list_topics(timeout=10).topics


def test_redis_holds_after_a_stop_what_it_held(own_redis: Redis) -> None:
    with Client(port=own_redis.settings.port) as client:
        client.set("key", "value")
    own_redis.stop()
    assert own_redis.pid is None and own_redis.start()
    with Client(port=own_redis.settings.port) as client:
        assert client.get("key") == b"value"


def test_other_settings_than_those_of_the_running_service_are_refused(own_redis: Redis) -> None:
    other = Redis(own_redis.folder, RedisSettings(port=free_port()))
    with pytest.raises(ConfigError, match=f"is up at {own_redis.address} with other settings"):
        other.start()


def test_a_taken_port_is_named_with_the_option_that_changes_it(tmp_path: Path) -> None:
    server = new_redis(tmp_path / "redis")
    port = server.settings.port
    with socket.create_server((HOST, port)), pytest.raises(ConfigError) as refused:
        server.start()
    assert f"wanted port {port}" in str(refused.value)
    assert "--redis-port" in str(refused.value)
    assert server.pid is None


def test_a_server_that_ends_while_starting_shows_the_end_of_its_log(tmp_path: Path) -> None:
    server = new_redis(tmp_path / "redis")
    (server.folder / "appendonlydir").mkdir(parents=True)
    (server.folder / "appendonlydir" / "appendonly.aof.manifest").write_text("garbage\n")
    with pytest.raises(
        ServiceError, match=r"(?s)redis ended while starting; the end of .*MANIFEST"
    ):
        server.start()


def test_a_jar_that_is_not_the_one_of_the_lock_is_refused_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path))
    monkeypatch.setattr(jars, "locked", lambda: [Jar("org.example:broker:1", "0" * 64)])
    path = tmp_path / "jars" / "broker-1.jar"
    path.parent.mkdir()
    path.write_bytes(b"another")
    with pytest.raises(InputError, match=r"wanted org.example:broker:1 with sha256 0000"):
        fetch()
    assert not path.exists()


def test_a_network_that_fails_is_tried_again_and_then_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr("jobs.stack.jars.time.sleep", waits.append)
    with pytest.raises(InputError, match=r"org.example:broker:1: wanted the jar .* go online once"):
        fetch([Jar("org.example:broker:1", "0" * 64)])
    assert waits == list(jars.WAITS_S)


def test_the_lock_names_each_jar_once_with_its_hash_and_holds_kafka() -> None:
    names = [jar.name for jar in locked()]
    assert len(names) == len(set(names))
    assert all(re.fullmatch("[0-9a-f]{64}", jar.sha256) for jar in locked())
    assert {f"kafka_2.13-{KAFKA_VERSION}.jar", f"kafka-tools-{KAFKA_VERSION}.jar"} <= set(names)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Return what runs `headrace COMMAND` on a folder of its own, on free ports if it is `up`."""
    ports = ["--kafka-port", "--controller-port", "--redis-port", "--flink-port"]
    options = [word for option in ports for word in (option, str(free_port()))]

    def run(command: str, *arguments: str, status: int = 0) -> str:
        given = options if command == "up" and "--redis-port" not in arguments else []
        words = [command, *arguments, "--folder", str(tmp_path / "stack"), *given]
        result = CliRunner().invoke(headrace, words)
        assert result.exit_code == status, result.output
        return result.output

    yield run
    run("down")
    assert processes_of(tmp_path) == []


def test_up_is_idempotent_says_where_all_is_and_down_leaves_nothing(
    stack: Callable[..., str], tmp_path: Path
) -> None:
    assert re.search(r"redis  up in [\d.]+ s at redis://127.0.0.1:\d+", stack("up", "redis"))
    assert "redis  already up at" in stack("up", "redis")
    assert "with other settings" in stack("up", "redis", "--redis-port", "1", status=1)
    shown = stack("status")
    assert re.search(r"redis  up +redis://", shown)
    assert Path(shown.split("log ")[1].strip()).is_file()
    assert stack("down") == "redis  stopped\n"
    assert re.search("redis  down", stack("status"))
    assert stack("down", "--wipe") == "redis  was down, its folder removed\n"
    assert "nothing was started" in stack("status")


def test_up_keeps_the_ports_it_was_once_given(stack: Callable[..., str], tmp_path: Path) -> None:
    address = stack("up", "redis").split(" at ")[1].split(",")[0]
    stack("down")
    result = CliRunner().invoke(headrace, ["up", "redis", "--folder", str(tmp_path / "stack")])
    assert address in result.output


def test_up_killed_at_any_stage_of_a_start_is_made_good_by_the_next_and_topics_are_made(
    stack: Callable[..., str], tmp_path: Path
) -> None:
    folder = tmp_path / "stack"
    broker = new_kafka(folder / "kafka")
    ports = ["--kafka-port", str(broker.settings.port)]
    ports += ["--controller-port", str(broker.settings.controller_port)]
    words = ["up", "kafka", "--folder", str(folder), *ports]
    stages = {
        "formatting": lambda: any(broker.folder.glob("formatting-*")),
        "starting": lambda: broker.pid is not None,
    }
    for reached in stages.values():
        with subprocess.Popen([sys.executable, "-m", "jobs.cli", *words]) as starting:
            wait_for(reached)
            starting.send_signal(signal.SIGKILL)
    result = CliRunner().invoke(headrace, [*words, "--prefix", "shop."])
    assert result.exit_code == 0, result.output
    assert "topics made: shop.transactions" in result.output
    result = CliRunner().invoke(headrace, [*words, "--prefix", "shop."])
    assert "topics are all there" in result.output
    broker.kill()
    assert "kafka  was down" in stack("down")


def test_doctor_says_of_a_taken_port_what_to_do(stack: Callable[..., str], tmp_path: Path) -> None:
    found = {finding.what: finding for finding in findings(tmp_path / "stack")}
    assert {found[what].verdict for what in ("Python", "Java", "Valkey")} == {Verdict.OK}
    stack("up", "redis")
    port = Redis.at(tmp_path / "stack" / "redis")
    assert port is not None
    assert re.search(rf"ok +port {port.settings.port} +our redis, pid", stack_doctor(stack))
    stack("down")
    with socket.create_server((HOST, port.settings.port)):
        assert f"`ss -ltnp 'sport = :{port.settings.port}'`" in stack("doctor", status=1)


def stack_doctor(stack: Callable[..., str]) -> str:
    """Return what doctor says where the default ports may be taken or not."""
    try:
        return stack("doctor")
    except AssertionError:
        return stack("doctor", status=1)


@pytest.mark.skipif(find_spec("pyflink") is not None, reason="the apache-flink wheel is installed")
def test_flink_without_its_wheel_names_the_command_that_installs_it(
    stack: Callable[..., str],
) -> None:
    assert "uv sync --inexact --extra stack --extra flink" in stack("up", "flink", status=1)


def test_without_a_cluster_flinks_commands_name_the_one_that_starts_it() -> None:
    command = ["flink", "list", "--flink", f"http://127.0.0.1:{free_port()}"]
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "headrace up flink" in done.stderr


@pytest.mark.skipif(find_spec("pyflink") is None, reason="wants the extra flink")
def test_a_killed_jobmanager_is_replaced_by_the_next_up(tmp_path: Path) -> None:
    settings = FlinkSettings(
        port=free_port(),
        rpc_port=free_port(),
        zookeeper_port=free_port(),
        high_availability=True,
    )
    cluster = Flink(tmp_path / "flink", settings)
    try:
        assert cluster.start()
        assert not cluster.start()
        cluster.processes[-1].kill()
        assert cluster.pid is None
        assert cluster.start()
    finally:
        cluster.stop()
    assert processes_of(tmp_path) == []
