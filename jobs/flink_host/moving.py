"""A score job's state into a job on Flink, and out of one that was stopped."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.flink_host.cluster import ENDED, FlinkCluster
from jobs.flink_host.order import FlinkOrder
from jobs.flink_host.submit import submit
from jobs.kafka_host.positions import resumed, topics_of
from jobs.kafka_host.publishing import Publishing
from jobs.lanes.entries import file_of, read_entries, write_entries
from jobs.lanes.in_force import VersionInForce
from jobs.lanes.scoring import Scorer
from jobs.lanes.store import MemoryStore
from jobs.travel.embedded import refuse_order
from jobs.travel.lanes import Share, gather, names_of
from jobs.travel.portable import Portable
from models.manifest import Manifest, Seal
from models.registry import Registry
from streams.broker import Input
from streams.errors import OutputError, StateError
from streams.topics import LABELS, TRANSACTIONS

OPENED_S = 1800.0
"""How long a job may take to bring in or write out its state."""
SENT_S = 30.0
_INPUTS = (TRANSACTIONS, LABELS)


def share_out(folder: Path, settings: Settings, pipeline: Pipeline, lanes: int) -> Path:
    """Have a state in `folder` lie as a job of so many lanes takes it in; where that is.

    Its version of the model is published, where `models` does not have it. Raises StateError or
    ConfigError where the state is not for these topics, this order or this pipeline.
    """
    portable = Portable.load(folder, pipeline.definition)
    refuse_order(portable, settings)
    _check_inputs(portable, settings, folder)
    if portable.about.version:
        _publish(portable.about.version, portable.weights, settings, pipeline)
    there = folder.absolute() / f"lanes-{lanes}"
    if there.exists():
        return there
    part = there.with_name(f"{there.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    share = Share(portable, pipeline, lanes)
    for lane in range(lanes):
        for name, store in share.lane(lane).items():
            write_entries(file_of(part, name, lane), store.items())
    part.replace(there)
    return there


def _check_inputs(portable: Portable, settings: Settings, folder: Path) -> None:
    """Raise StateError where the topics are not those that the state was made from."""
    broker = settings.broker()
    made = broker.partitions([settings.topic(name) for name in _INPUTS])
    there = [Input(topic, partition) for topic, count in made.items() for partition in range(count)]
    for each in portable.offsets:
        if each not in there:
            raise StateError(
                f"{folder}: wanted {each.topic}/{each.partition}, which the state there was made "
                f"from, got {', '.join(made)}; give the --prefix of that topic"
            )
    consumer = broker.consumer(there)
    meta = {"positions": portable.about.inputs, "topics": portable.about.topics}
    try:
        resumed(meta, topics_of(broker, there), there, consumer.bounds(), folder)
    finally:
        consumer.close()


def _publish(manifest: Manifest, weights: bytes, settings: Settings, pipeline: Pipeline) -> None:
    """Publish a version, unless the topic has it or a newer one."""
    broker = settings.broker()
    publishing = Publishing(broker, settings, pipeline, time.monotonic)
    producer = broker.producer()
    try:
        if publishing.lacks(manifest):
            for topic, record, value in publishing.records(
                Seal(settings.key).sealed(manifest), weights
            ):
                producer.send(topic, [value], [record])
        if not producer.flush(SENT_S):
            raise OutputError(
                f"{settings.brokers}: wanted version {manifest.sequence} published within "
                f"{SENT_S:.0f} s, the broker has not taken it; is it well?"
            )
    finally:
        producer.close()
        publishing.close()


def bring_out(
    cluster: FlinkCluster,
    order: FlinkOrder,
    settings: Settings,
    pipeline: Pipeline,
    client: Mapping[str, str],
) -> Portable:
    """The state in a savepoint, `order.savepoint`, which `order.leaving` takes on its way.

    A job with the operators of the one that was stopped writes it there and does nothing else.
    """
    folder = Path(order.leaving)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    job = submit(order, settings, cluster.address, client)
    try:
        cluster.started(job, OPENED_S)
    finally:
        cluster.cancel(job)
        cluster.wait(job, ENDED, OPENED_S)
    stores = []
    for lane in range(order.lanes):
        each = {name: MemoryStore() for name in names_of(pipeline)}
        for name, store in each.items():
            store.put_all(dict(read_entries(file_of(folder, name, lane))))
        stores.append(each)
    topics = [settings.topic(name) for name in _INPUTS]
    portable = gather(stores, pipeline, settings.order, topics)
    portable.about.topics = topics_of(settings.broker(), list(portable.offsets))
    shutil.rmtree(folder)
    return _with_version(portable, settings, pipeline)


def _with_version(portable: Portable, settings: Settings, pipeline: Pipeline) -> Portable:
    """The state with the newest version that is published."""
    with TemporaryDirectory(prefix="headrace-models-") as folder:
        scorer, registry = Scorer(pipeline), Registry(Path(folder), settings.key)
        newest = VersionInForce(pipeline, settings.broker(), settings, scorer, Path(folder))
        try:
            newest.swap()
        finally:
            newest.close()
        if not scorer.sequence:
            return portable
        portable.about.version = registry.manifest(scorer.sequence)
        return replace(portable, weights=registry.weights(scorer.sequence))
