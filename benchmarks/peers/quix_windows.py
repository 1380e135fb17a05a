"""Quix Streams' own sliding windows, three branches of one stream: three records to an event.

Windows are closed at both ends, hence a millisecond less. Each record has the id of the last event
of its window.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from benchmarks.peers.job import DAYS, Job
from benchmarks.peers.quix_streams import PACKAGES

__all__ = ["PACKAGES", "run"]
INSTANT = timedelta(milliseconds=1)


def run(job: Job) -> None:
    from quixstreams import Application
    from quixstreams.dataframe.windows import Count, Latest, Mean

    app = Application(
        broker_address=job.brokers,
        consumer_group=f"{job.target}-quix-windows",
        auto_offset_reset="earliest",
        state_dir=f"{job.folder}/state",
        producer_extra_config={"linger.ms": 1, "acks": "all", "enable.idempotence": True},
        consumer_extra_config={"fetch.wait.max.ms": 100},
        loglevel="WARNING",
    )
    stream = app.dataframe(
        app.topic(job.source, value_deserializer="json", timestamp_extractor=moment_ms)
    )
    target = app.topic(job.target, value_serializer="json")
    for days in DAYS:
        window = stream.sliding_window(timedelta(days=days) - INSTANT).agg(
            **{f"count_{days}d": Count(), f"mean_{days}d": Mean("amount"), "id": Latest("id")}
        )
        window.current().to_topic(target)
    app.run()


def moment_ms(value: Any, *_: object) -> int:
    return int(datetime.fromisoformat(value["time"]).timestamp() * 1000)


if __name__ == "__main__":
    run(Job.given())
