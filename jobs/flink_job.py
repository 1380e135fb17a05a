"""The score job on Flink, top to bottom: read, index, windows by entity, score, topics.

    transactions ┬► readers ─► index ─► windows(customer) ─► windows(terminal), score ─► predictions
          labels ┘     │         └► outcomes                                      ▲
                       └► dead-letters                                     models ┘

And the learn job:

    predictions ┬► learn ─► examples
       outcomes ┘    ├► models
                     └► drift

Between two operators rows travel in parcels, each for a lane: Flink's key.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec
from pyflink.common import Configuration, Duration, Row, Types, WatermarkStrategy
from pyflink.common.serialization import ByteArraySchema, RowFieldExtractorSchema
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from pyflink.datastream.connectors.number_seq import NumberSequenceSource
from pyflink.java_gateway import get_gateway

from jobs.config import Settings
from jobs.flink_host.function import LETTERS_TAG
from jobs.flink_host.functions import OUTCOMES_TAG, Indexing, Windows
from jobs.flink_host.headed import headed_schema, table_rows
from jobs.flink_host.learning import DRIFT_TAG, Learn
from jobs.flink_host.order import FlinkOrder
from jobs.flink_host.parcel import address_of, nothing_but
from jobs.flink_host.plan import Plan
from jobs.flink_host.reading import Reading
from jobs.flink_host.records import HEADED, PARCEL, RECORD
from jobs.load_pipeline import load_pipeline
from jobs.release import RELEASE
from streams.schema import duration_us
from streams.topics import DEAD_LETTERS, DRIFT, EXAMPLES, MODELS, OUTCOMES, PREDICTIONS

SHADED = "org.apache.flink.kafka.shaded.org.apache.kafka"
"""Where Kafka's own classes lie in the connector's jar."""
IDLE_MS = 2000
"""After so long without a record a task's readers hold event time back no more."""
TURN_S, LONG_TURN_S = 0.02, 0.1
"""How long a reader reads before state is written and Flink may do something else; and where
operators have threads of their own, so that writing keeps no reader waiting."""


class HeadTime(TimestampAssigner):  # type: ignore[misc]
    """A parcel's time is in its head."""

    def extract_timestamp(self, value: Row, record_timestamp: int) -> int:
        return address_of(value[1]).time_us // 1000


def build_learning(env: StreamExecutionEnvironment, plan: Plan) -> None:
    """Put the learn job together: one task learns. It hands versions to their topic itself."""
    learn = _keyed(_seeds(env, plan)).process(Learn(plan), output_type=RECORD)
    learn = _named(learn, "learn")
    _sink(learn, plan, EXAMPLES)
    _sink(learn.get_side_output(DRIFT_TAG), plan, DRIFT)


def build_scoring(env: StreamExecutionEnvironment, plan: Plan) -> None:
    """Put the score job together."""
    pipeline = load_pipeline(plan.settings.pipeline)
    entities = pipeline.plan().entities
    read = _keyed(_seeds(env, plan)).process(Reading(plan), output_type=PARCEL)
    read = _named(read, "read")
    rows = read
    if plan.strict:
        lateness = Duration.of_millis(duration_us(pipeline.lateness) // 1000)
        strategy = WatermarkStrategy.for_bounded_out_of_orderness(lateness)
        # In this order: what comes after a timestamp assigner of Python's own forgets it.
        strategy = strategy.with_idleness(Duration.of_millis(IDLE_MS))
        strategy = strategy.with_timestamp_assigner(HeadTime())
        rows = rows.assign_timestamps_and_watermarks(strategy)
    index = _named(
        _keyed(rows, here=plan.together).process(Indexing(plan), output_type=PARCEL), "index"
    )
    letters = [read, index]
    rows = index
    for place in range(max(len(entities), 1)):
        last = place >= len(entities) - 1
        key = entities[place].key if entities else "id"
        windows = _keyed(rows, here=plan.together).process(
            Windows(plan, place, last=last), output_type=HEADED if last else PARCEL
        )
        rows = _named(windows, f"windows-{key}")
        if last:
            letters.append(rows)
    _sink(_named(table_rows(rows), "headed"), plan, PREDICTIONS, headed_schema)
    _sink(index.get_side_output(OUTCOMES_TAG), plan, OUTCOMES)
    first, *others = (each.get_side_output(LETTERS_TAG) for each in letters)
    _sink(first.union(*others), plan, DEAD_LETTERS)


def _seeds(env: StreamExecutionEnvironment, plan: Plan) -> DataStream:
    """One parcel for every reader to begin by; and a source without end, so that the job has none.

    That is the topic of the models, of which nothing is passed on.
    """
    seeds = env.from_source(
        NumberSequenceSource(0, plan.lanes - 1), WatermarkStrategy.no_watermarks(), "seeds"
    ).uid("seeds")
    begin = seeds.map(lambda lane: plan.addressed(nothing_but(lane, lane, 0)), output_type=PARCEL)
    models = (
        KafkaSource.builder()
        .set_bootstrap_servers(plan.settings.brokers)
        .set_topics(plan.settings.topic(MODELS))
        .set_starting_offsets(KafkaOffsetsInitializer.latest())
        .set_value_only_deserializer(ByteArraySchema())
    )
    for key, value in plan.settings.security().java(SHADED).items():
        models.set_property(key, value)
    endless = env.from_source(models.build(), WatermarkStrategy.no_watermarks(), "models").uid(
        "models"
    )
    return begin.union(endless.flat_map(lambda _: (), output_type=PARCEL))


def _keyed(stream: DataStream, *, here: bool = False) -> KeyedStream:
    """Parcels by their key; `here`: all lanes are those of the one task that they come from.

    Then nothing lies between two operators: Flink runs both in one thread.
    """
    jvm, java = get_gateway().jvm, stream._j_data_stream  # noqa: SLF001
    how = jvm.KeyByKeySelector(), Types.ROW([Types.STRING()]).get_java_type_info()
    if here:
        streams = jvm.org.apache.flink.streaming.api.datastream.DataStreamUtils
        return KeyedStream(streams.reinterpretAsKeyedStream(java, *how), PARCEL, stream)
    return KeyedStream(java.keyBy(*how), PARCEL, stream)


def _named(stream: DataStream, name: str) -> DataStream:
    """Name an operator; its state is found by that name in any later release."""
    return stream.name(name).uid(name)


def schema(topic: str) -> Any:
    """What makes records of a topic from the rows of a stream: an object of Java."""
    built = (
        KafkaRecordSerializationSchema.builder()
        .set_topic(topic)
        .set_key_serialization_schema(RowFieldExtractorSchema(0))
        .set_value_serialization_schema(RowFieldExtractorSchema(1))
        .build()
    )
    return built._j_serialization_schema  # noqa: SLF001


def _sink(stream: DataStream, plan: Plan, topic: str, made: Callable[[str], Any] = schema) -> None:
    settings = plan.settings
    guarantee = DeliveryGuarantee.AT_LEAST_ONCE
    if settings.delivery == "exactly-once":
        guarantee = DeliveryGuarantee.EXACTLY_ONCE
    sink = (
        KafkaSink.builder()
        .set_bootstrap_servers(settings.brokers)
        .set_property("linger.ms", f"{settings.linger_ms:.0f}")
        .set_property("transaction.timeout.ms", "300000")
        .set_delivery_guarantee(guarantee)
        .set_transactional_id_prefix(f"{settings.prefix}{settings.group}-{topic}")
    )
    # Flink's Python looks into the serializer for what ours need not have.
    sink._j_builder.setRecordSerializer(made(settings.topic(topic)))  # noqa: SLF001
    for key, value in settings.security().java(SHADED).items():
        sink.set_property(key, value)
    stream.sink_to(sink.build()).name(topic).uid(f"sink-{topic}")


def keys_of(lanes: int) -> tuple[str, ...]:
    """A key for each lane that Flink puts into the key group of the lane's number.

    So lanes are shared out evenly among any number of tasks.
    """
    jvm = get_gateway().jvm
    assign = jvm.org.apache.flink.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup
    row = jvm.org.apache.flink.types.Row
    found: dict[int, str] = {}
    number = 0
    while len(found) < lanes:
        made = row(1)
        made.setField(0, str(number))
        found.setdefault(assign(made, lanes), str(number))
        number += 1
    return tuple(found[lane] for lane in range(lanes))


def main() -> str:
    """Put the job together as the environment says and hand it to the cluster; the job's id."""
    order = msgspec.json.decode(os.environ["HEADRACE_FLINK"], type=FlinkOrder)
    settings = Settings.load()
    config = Configuration()
    for name, value in order.configuration().items():
        config.set_string(name, value)
    env = StreamExecutionEnvironment.get_execution_environment(config)
    env.set_parallelism(order.parallelism)
    env.set_max_parallelism(order.lanes)
    plan = Plan(
        settings,
        keys_of(order.lanes),
        order.parallelism,
        order.memory_mb << 20,
        0.0 if order.together else order.pace_ms / 1000,
        min(order.checkpoint_ms / 5000, TURN_S if order.together else LONG_TURN_S),
        order.together,
        RELEASE,
        load_pipeline(settings.pipeline).definition,
        order.brought,
        order.leaving,
        order.warm_up,
    )
    build = build_learning if order.role == "learn" else build_scoring
    build(env, plan)
    return str(env.execute_async(order.name).get_job_id())
