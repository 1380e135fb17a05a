"""The local broker with TLS and SASL/SCRAM takes its users, and nobody else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from jobs.stack import security
from jobs.stack.kafka import Kafka, KafkaSettings
from jobs.stack.security import Certificate, Security
from streams.errors import ConfigError
from tests.kafka_server import new_kafka

USERS = {"scorer": "correct-horse"}


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    broker = new_kafka(tmp_path_factory.mktemp("secure") / "kafka", Security(users=USERS))
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


def refusals(settings: dict[str, str]) -> list[int]:
    """Return the codes of the errors that a client meets, none where it is let in."""
    codes: list[int] = []
    quiet = {"log_level": 0, "error_cb": lambda error: codes.append(error.code())}
    client = AdminClient({**settings, **quiet})
    try:
        client.list_topics(timeout=5)
    except KafkaException:
        client.poll(0)  # hands the errors over
        return codes
    return []


def test_a_user_with_the_password_is_let_in(secure: Kafka) -> None:
    assert refusals(secure.client("scorer")) == []


def test_a_wrong_password_is_refused(secure: Kafka) -> None:
    assert KafkaError._AUTHENTICATION in refusals(secure.client("scorer", "wrong"))


def test_a_broker_whose_certificate_is_not_trusted_is_not_spoken_to(
    secure: Kafka, tmp_path: Path
) -> None:
    other = Certificate(tmp_path)
    other.make()
    settings = security.client("scorer", USERS["scorer"], other.ca)
    assert KafkaError._SSL in refusals(secure.client() | settings)


def test_plain_text_is_not_answered(secure: Kafka) -> None:
    assert refusals({"bootstrap.servers": secure.bootstrap})


def test_the_files_with_passwords_are_the_owners_alone(secure: Kafka) -> None:
    assert secure.folder.stat().st_mode & 0o077 == 0


def test_users_are_made_once(secure: Kafka) -> None:
    more = Security(users={**USERS, "learner": "battery-staple"})
    with pytest.raises(ConfigError, match="made with other users"):
        Kafka(secure.folder, KafkaSettings(security=more)).prepare()


def test_a_password_that_would_need_quoting_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError, match="letters, digits") as refused:
        Security(users={"scorer": 'say "please"'})
    assert "please" not in str(refused.value)
