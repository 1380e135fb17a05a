"""Flink SQL, submitted from Python: OVER windows by event time, all of it in Java.

A row leaves when the watermark has passed it, so when the next event comes. Its windows are closed
at both ends, hence a millisecond less.
"""
# ruff: noqa: S608 - every word of the queries is ours

from __future__ import annotations

from typing import Any

from benchmarks.peers.job import DAYS, Job
from benchmarks.peers.pyflink_stream import PACKAGES, configuration, use_java

__all__ = ["PACKAGES", "run"]


def run(job: Job) -> None:
    use_java()
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import StreamTableEnvironment

    env = StreamExecutionEnvironment.get_execution_environment()
    configuration(env, job)
    tables: Any = StreamTableEnvironment.create(env)
    tables.get_config().set("pipeline.auto-watermark-interval", "1 ms")
    tables.execute_sql(f"""
        CREATE TABLE payments (
          id STRING, `time` STRING, customer STRING, amount DECIMAL(12, 2),
          ts AS CAST(REPLACE(REPLACE(`time`, 'T', ' '), 'Z', '') AS TIMESTAMP(3)),
          WATERMARK FOR ts AS ts
        ) WITH (
          'connector' = 'kafka', 'topic' = '{job.source}', 'format' = 'json',
          'properties.bootstrap.servers' = '{job.brokers}',
          'properties.group.id' = '{job.target}-sql', 'scan.startup.mode' = 'earliest-offset'
        )""")
    columns = ", ".join(f"count_{days}d BIGINT, mean_{days}d DOUBLE" for days in DAYS)
    tables.execute_sql(f"""
        CREATE TABLE features (id STRING, {columns}) WITH (
          'connector' = 'kafka', 'topic' = '{job.target}', 'format' = 'json',
          'properties.bootstrap.servers' = '{job.brokers}', 'properties.linger.ms' = '1'
        )""")
    # A query takes one kind of OVER window, so each length is a query over the one before.
    query, made = "payments", ""
    for days in DAYS:
        over = (
            f"OVER (PARTITION BY customer ORDER BY ts RANGE BETWEEN INTERVAL '{days - 1} "
            "23:59:59.999' DAY(2) TO SECOND(3) PRECEDING AND CURRENT ROW)"
        )
        query = (
            f"(SELECT id, customer, amount, ts{made}, COUNT(*) {over} AS count_{days}d, "
            f"AVG(CAST(amount AS DOUBLE)) {over} AS mean_{days}d FROM {query})"
        )
        made += f", count_{days}d, mean_{days}d"
    tables.execute_sql(f"INSERT INTO features SELECT id{made} FROM {query}").wait()


if __name__ == "__main__":
    run(Job.given())
