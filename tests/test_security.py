"""TLS and a login to the real broker: what is let in, what is said to who is not."""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

pytest.importorskip("confluent_kafka")

from jobs.clients.topics import create_topics, describe_topics
from jobs.stack.kafka import Kafka as Server
from jobs.stack.security import Certificate
from jobs.stack.security import Security as Users
from streams.broker import Input
from streams.errors import ConfigError, InputError, StateError
from streams.kafka import Kafka, Security, cluster
from tests.kafka_clients import PATIENCE_S, read, topic, values
from tests.kafka_server import new_kafka, unique

USER, PASSWORD = "anna", "correct-horse"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A broker that takes only SCRAM-SHA-512 over TLS."""
    broker = new_kafka(tmp_path_factory.mktemp("secure"), Users({USER: PASSWORD}))
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


@pytest.fixture
def security(server: Server) -> Security:
    return Security(ca=server.certificate.ca, user=USER, password=PASSWORD)


def refusal(server: Server, security: Security | None) -> str:
    """What is said, in a line and within seconds, and never with a password."""
    begun = monotonic()
    with pytest.raises(ConfigError) as raised:
        Kafka(server.bootstrap, security).partitions(())
    said = str(raised.value)
    assert monotonic() - begun < 10
    assert "\n" not in said
    assert said.startswith(f"{server.bootstrap}: ")
    assert security is None or not security.password or security.password not in said
    return said


def test_with_the_right_password_everything_works(server: Server, security: Security) -> None:
    source, sink, group = topic(server), topic(server), unique("group")
    broker = Kafka(server.bootstrap, security)
    producer, consumer = broker.producer(), broker.consumer([Input(source, 0)], group, "a")
    producer.send(source, [b"in"])
    consumer.seek([0])
    assert values(read(consumer, 1)) == [b"in"]
    transactions = broker.producer(unique("id"))
    transactions.begin()
    transactions.send(sink, [b"out"])
    assert transactions.commit(consumer, [1])
    with pytest.raises(StateError, match="owns it"):
        broker.consumer([Input(source, 0)], group, "b")
    consumer.close()
    after = broker.consumer([Input(source, 0)], group, "b")
    assert after.committed() == [1]
    after.close()
    prefix = unique("shop") + "."
    assert len(create_topics(server.bootstrap, prefix, security)) == 8
    assert not [
        each for each in describe_topics(server.bootstrap, prefix, security) if each.differences
    ]
    assert producer.flush(PATIENCE_S)


def test_a_wrong_password_is_one_line(server: Server, security: Security) -> None:
    said = refusal(server, replace(security, password="wrong-staple"))
    assert re.search(r"wanted a Kafka broker, got: .* check user, password and mechanism", said)


def test_an_unknown_user_is_one_line(server: Server, security: Security) -> None:
    assert "check user" in refusal(server, replace(security, user="mallory"))


def test_a_mechanism_that_the_broker_does_not_speak_is_one_line(
    server: Server, security: Security
) -> None:
    assert "mechanism" in refusal(server, replace(security, mechanism="SCRAM-SHA-256"))


def test_an_untrusted_certificate_is_one_line(
    server: Server, security: Security, tmp_path: Path
) -> None:
    other = Certificate(tmp_path)
    other.make()
    said = refusal(server, replace(security, ca=other.ca))
    assert "certificate verify failed" in said
    assert "check the certificate authority" in said


def test_a_certificate_of_no_known_authority_is_one_line(
    server: Server, security: Security
) -> None:
    assert "certificate" in refusal(server, replace(security, ca=None, tls=True))


def test_no_login_is_one_line(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_S", 2.0)
    with pytest.raises(InputError, match="wants TLS or a login") as raised:
        Kafka(server.bootstrap).partitions(())
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(server: Server) -> None:
    missing = Security(ca=Path("/no/such/ca.pem"))
    with pytest.raises(ConfigError, match=r"/no/such/ca\.pem: wanted a PEM file"):
        Kafka(server.bootstrap, missing)


def test_the_topic_commands_say_the_same(server: Server, security: Security) -> None:
    with pytest.raises(ConfigError, match="check user, password and mechanism"):
        create_topics(server.bootstrap, "x.", replace(security, password="wrong-staple"))


def test_a_password_is_in_no_repr_and_no_log(
    server: Server,
    security: Security,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = replace(security, password="wrong-staple")
    for given in (security, wrong):
        assert given.password not in f"{given!r}{given}{Kafka(server.bootstrap, given)!r}"
    Kafka(server.bootstrap, security).partitions(())
    refusal(server, wrong)
    said = caplog.text + "".join(capfd.readouterr())
    assert PASSWORD not in said
    assert "wrong-staple" not in said
