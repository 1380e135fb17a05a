"""The topics of a deployment: made once, looked at, never changed."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka")
pytest.importorskip("kafka")

from click.testing import CliRunner, Result

from jobs.clients.topics import create_topics, describe_topics
from jobs.commands import headrace
from jobs.stack.kafka import Kafka as Server
from streams.topics import DAY_MS, TOPICS
from tests.kafka_clients import remake
from tests.kafka_server import unique


@pytest.fixture
def prefix() -> str:
    return unique("shop") + "."


def command(server: Server, *words: str) -> Result:
    arguments = ["topics", *words, "--brokers", server.bootstrap]
    return CliRunner().invoke(headrace, arguments, terminal_width=100)


def test_what_is_missing_is_made_as_it_is_written_down(kafka_broker: Server, prefix: str) -> None:
    before = describe_topics(kafka_broker.bootstrap, prefix)
    assert {each.partitions for each in before} == {0}
    made = create_topics(kafka_broker.bootstrap, prefix)
    assert made == [prefix + name for name in TOPICS]
    for each in describe_topics(kafka_broker.bootstrap, prefix):
        assert each.settings == each.topic.settings
        assert each.partitions == each.topic.partitions
        assert each.differences == ()


def test_what_is_there_is_not_made_again(kafka_broker: Server, prefix: str) -> None:
    create_topics(kafka_broker.bootstrap, prefix)
    assert create_topics(kafka_broker.bootstrap, prefix) == []


def test_transactions_labels_and_predictions_have_as_many_partitions_as_asked(
    kafka_broker: Server, prefix: str
) -> None:
    create_topics(kafka_broker.bootstrap, prefix, partitions=3)
    found = {each.topic.name: each for each in describe_topics(kafka_broker.bootstrap, prefix)}
    three = {name for name, each in found.items() if each.partitions == 3}
    assert three == {"transactions", "labels", "predictions"}
    assert not any(each.differences for each in found.values()), "any number will do there"


def test_a_topic_that_is_there_is_never_changed_but_its_differences_are_said(
    kafka_broker: Server, prefix: str
) -> None:
    remake(kafka_broker, prefix + "labels", retention_ms="3600000")
    remake(kafka_broker, prefix + "outcomes", partitions=2, retention_ms="2592000000")
    remake(kafka_broker, prefix + "models", message_timestamp_type="CreateTime", retention_ms="-1")
    create_topics(kafka_broker.bootstrap, prefix)
    differences = {
        each.topic.name: each.differences
        for each in describe_topics(kafka_broker.bootstrap, prefix)
        if each.differences
    }
    assert differences.keys() == {"labels", "outcomes", "models"}
    (kept,) = (line for line in differences["labels"] if "retention" in line)
    assert f"{prefix}labels: retention.ms is 3600000, wanted 2592000000; change it by" in kept
    (cut,) = (line for line in differences["outcomes"] if "partitions" in line)
    assert "the number of partitions is 2, wanted 1; Kafka takes none away" in cut
    stamped, cleaned = differences["models"][:2]
    assert "message.timestamp.type is CreateTime, wanted LogAppendTime" in stamped
    assert "cleanup.policy is delete, wanted compact" in cleaned


def test_the_command_that_is_named_removes_the_difference(
    kafka_broker: Server, prefix: str
) -> None:
    remake(kafka_broker, prefix + "drift", retention_ms="3600000")
    create_topics(kafka_broker.bootstrap, prefix)
    (drift,) = (
        each
        for each in describe_topics(kafka_broker.bootstrap, prefix, partitions=2)
        if each.topic.name == "drift"
    )
    for line in drift.differences:
        words = line.split("`")[1].split()
        assert words[:3] == ["uv", "run", "python"]
        subprocess.run([sys.executable, *words[3:]], check=True, capture_output=True)
    assert not [
        line
        for each in describe_topics(kafka_broker.bootstrap, prefix)
        for line in each.differences
    ]


def test_the_command_makes_them_and_says_which(kafka_broker: Server, prefix: str) -> None:
    done = command(kafka_broker, "create", "--prefix", prefix)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "made " + ", ".join(prefix + name for name in TOPICS) + "\n"
    again = command(kafka_broker, "create", "--prefix", prefix)
    assert (again.exit_code, again.stdout) == (0, "all topics are there\n")


def test_the_command_refuses_to_change_one_with_a_line_and_a_status(
    kafka_broker: Server, prefix: str
) -> None:
    command(kafka_broker, "create", "--prefix", prefix)
    done = command(kafka_broker, "create", "--prefix", prefix, "--partitions", "2")
    assert done.exit_code == 1
    lines = done.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == [
        prefix + name for name in ("transactions", "labels", "predictions")
    ]
    assert all(line.startswith("left as it is: ") for line in lines)


def test_the_table_shows_every_topic_and_what_is_missing(kafka_broker: Server, prefix: str) -> None:
    missing = command(kafka_broker, "describe", "--prefix", prefix)
    assert missing.stdout.count("missing") == len(TOPICS)
    create_topics(kafka_broker.bootstrap, prefix)
    shown = command(kafka_broker, "describe", "--prefix", prefix)
    assert shown.exit_code == 0
    for name, topic in TOPICS.items():
        assert any(
            line.startswith(prefix + name) and topic.record in line
            for line in shown.stdout.splitlines()
        )
    assert "last of key" in shown.stdout


def test_the_page_lists_the_topics_as_they_are() -> None:
    page = (Path(__file__).parents[1] / "docs" / "topics.md").read_text("utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert [row[0].strip("`") for row in rows] == list(TOPICS)
    for (_, _, key, partitions, kept), topic in zip(rows, TOPICS.values(), strict=True):
        assert (key, partitions.endswith("1")) == (topic.key.partition(":")[0], True)
        days = f"{topic.retention_ms // DAY_MS} days"
        assert kept == ("the last record of a key" if topic.compacted else days)
