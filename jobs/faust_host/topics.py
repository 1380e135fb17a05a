"""The topics that the workers have among themselves: made where they are missing."""

from __future__ import annotations

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.faust_host.plan import topics_of
from streams.errors import ConfigError
from streams.kafka.cluster import Cluster
from streams.kafka.failures import translated
from streams.kafka.library import Error, Failure, admin
from streams.topics import TRANSACTIONS


def lanes_of_topics(settings: Settings, pipeline: Pipeline, wanted: int | None) -> int:
    """Have the topics there; their number of partitions, which is that of lanes.

    That is `wanted`, or without it what is there, or as many as transactions has. Raises
    ConfigError where another number is there, InputError where the cluster does not answer.
    """
    cluster = Cluster(settings.brokers, settings.security(), "headrace")
    source = settings.topic(TRANSACTIONS)
    partitions = cluster.partitions([source])[source]
    topics = topics_of(settings, pipeline)
    known = cluster.admin.list_topics(timeout=10).topics
    there = {name: len(known[name].partitions) for name in topics if name in known}
    count = wanted or max(there.values(), default=partitions)
    for name, found in there.items():
        if found != count:
            raise ConfigError(
                f"{name}: wanted {count} partitions, one a lane, got {found}; the number of lanes "
                "is fixed for the life of their state: leave --lanes away, or choose another group"
            )
    missing = [
        admin.NewTopic(name, count, config=config)
        for name, config in topics.items()
        if name not in there
    ]
    made = cluster.admin.create_topics(missing) if missing else {}
    for name, future in made.items():
        try:
            future.result()
        except Failure as failure:
            # Another worker may have made it meanwhile.
            if failure.args[0].code() != Error.TOPIC_ALREADY_EXISTS:
                what = f"{name}: wanted this topic made"
                raise translated(failure.args[0], what, ConfigError) from failure
    return count
