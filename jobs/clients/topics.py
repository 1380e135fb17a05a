"""The topics of a deployment: what is missing is made, what is there is left as it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from streams.errors import ConfigError, InputError
from streams.kafka import Kafka, Security
from streams.topics import LABELS, PREDICTIONS, TOPICS, TRANSACTIONS, Topic

CUT = frozenset({TRANSACTIONS, LABELS, PREDICTIONS})
"""The topics whose number of partitions is the user's choice; the others have one."""
ANSWER_MS = 15_000


@dataclass(frozen=True, slots=True)
class Found:
    """What a cluster has of a topic."""

    topic: Topic
    name: str
    """With the prefix."""
    partitions: int
    """0 where there is no such topic."""
    settings: Mapping[str, str]
    """The broker's settings for it, by Kafka's names."""
    differences: tuple[str, ...]
    """What is, what is wanted and the command that changes it, a line each."""


def create_topics(
    brokers: str,
    prefix: str = "",
    security: Security | None = None,
    partitions: int | None = None,
) -> list[str]:
    """Make the topics that are missing, and return their names.

    `partitions` is the number for transactions, labels and predictions, by default 1. Raises
    InputError when the cluster does not answer, ConfigError when it does not let us.
    """
    found = describe_topics(brokers, prefix, security, partitions)
    missing = {
        each.name: {
            "num_partitions": _wanted(each.topic, partitions) or each.topic.partitions,
            "configs": each.topic.settings,
        }
        for each in found
        if not each.partitions
    }
    if missing:
        with _asked(brokers, security) as cluster:
            from kafka.errors import TopicAlreadyExistsError  # noqa: PLC0415 - an optional extra

            answer = cluster.create_topics(missing, raise_errors=False, wait_for_metadata=True)
            for made in answer["topics"]:
                # Another may have made it meanwhile.
                if made["error_code"] not in {0, TopicAlreadyExistsError.errno}:
                    raise ConfigError(
                        f"{brokers}: wanted topic {made['name']} made, got: "
                        f"{made['error_message']}; have it made by who may"
                    )
    return list(missing)


def describe_topics(
    brokers: str,
    prefix: str = "",
    security: Security | None = None,
    partitions: int | None = None,
) -> list[Found]:
    """What the cluster has of each topic; other partitions than asked for are a difference.

    Raises as `create_topics` does.
    """
    # Asked first, because it tells a wrong password or certificate from a broker that is away.
    Kafka(brokers, security).partitions(())
    names = {prefix + topic.name: topic for topic in TOPICS.values()}
    with _asked(brokers, security) as cluster:
        there = [name for name in names if name in set(cluster.list_topics())]
        counts = {
            each["name"]: len(each["partitions"])
            for each in (cluster.describe_topics(there) if there else ())
        }
        settings = _settings(cluster, there)
    return [
        Found(
            topic,
            name,
            counts.get(name, 0),
            settings.get(name, {}),
            tuple(
                _differences(brokers, name, topic, counts[name], settings[name], partitions)
                if name in counts
                else ()
            ),
        )
        for name, topic in names.items()
    ]


def _settings(cluster: Any, names: list[str]) -> dict[str, dict[str, str]]:
    from kafka.admin import ConfigResource, ConfigResourceType  # noqa: PLC0415 - an optional extra

    wanted = dict.fromkeys(next(iter(TOPICS.values())).settings)
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, wanted) for name in names]
    if not asked:
        return {}
    answer = cluster.describe_configs(asked, config_filter="all")["topic"]
    return {name: {key: each["value"] for key, each in answer[name].items()} for name in names}


def _wanted(topic: Topic, partitions: int | None) -> int | None:
    """How many partitions it must have; None where any number will do."""
    return partitions if topic.name in CUT else topic.partitions


def _differences(
    brokers: str,
    name: str,
    topic: Topic,
    count: int,
    settings: Mapping[str, str],
    partitions: int | None,
) -> Iterator[str]:
    change = f"uv run python -m kafka.admin -b {brokers.partition(',')[0]}"
    wanted = _wanted(topic, partitions)
    if wanted is not None and count < wanted:
        yield (
            f"{name}: the number of partitions is {count}, wanted {wanted}; change it by "
            f"`{change} partitions create -p {name}:{wanted}`"
        )
    elif wanted is not None and count > wanted:
        yield (
            f"{name}: the number of partitions is {count}, wanted {wanted}; Kafka takes none away, "
            f"so delete it by "
            f"`{change} topics delete -t {name}`, with all it holds, and make it anew"
        )
    for key, value in topic.settings.items():
        if settings[key] != value:
            yield (
                f"{name}: {key} is {settings[key]}, wanted {value}; change it by "
                f"`{change} configs alter -r topic -n {name} -c {key}={value}`"
            )


@contextmanager
def _asked(brokers: str, security: Security | None) -> Iterator[Any]:
    """An admin client of kafka-python, whose errors are ours."""
    try:
        from kafka import KafkaAdminClient  # noqa: PLC0415 - an optional extra
        from kafka.errors import AuthorizationError, KafkaError  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "topics are made by kafka-python, which is not installed: "
            "run `uv sync --inexact --extra kafka`"
        ) from error
    # Without a handler of its own Python would print what the library says to standard error.
    logging.getLogger("kafka").addHandler(logging.NullHandler())
    try:
        cluster = KafkaAdminClient(
            bootstrap_servers=brokers.split(","),
            bootstrap_timeout_ms=ANSWER_MS,
            request_timeout_ms=ANSWER_MS,
            **(security or Security()).kafka_python(),
        )
        try:
            yield cluster
        finally:
            cluster.close()
    except AuthorizationError as error:
        raise ConfigError(
            f"{brokers}: wanted to see and make topics, but the user may not ({error}); "
            "have the right given, or topics made by who has it"
        ) from error
    except KafkaError as error:
        raise InputError(
            f"{brokers}: wanted the cluster's topics, got {error}; see what the broker's log says"
        ) from error
