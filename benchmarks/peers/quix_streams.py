"""Quix Streams, with state of the user's own: a list of a customer's events, in RocksDB."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from benchmarks.peers.job import DAY_US, DAYS, Job, windows

PACKAGES = ("quixstreams==3.28.1",)


def run(job: Job) -> None:
    from quixstreams import Application

    app = Application(
        broker_address=job.brokers,
        consumer_group=f"{job.target}-quix",
        auto_offset_reset="earliest",
        state_dir=f"{job.folder}/state",
        producer_extra_config={"linger.ms": 1, "acks": "all", "enable.idempotence": True},
        consumer_extra_config={"fetch.wait.max.ms": 100},
        processing_guarantee="exactly-once" if job.exactly_once else "at-least-once",
        commit_interval=job.commit_ms / 1000 if job.exactly_once else 5.0,
        loglevel="WARNING",
    )
    source = app.topic(job.source, value_deserializer="json")
    target = app.topic(job.target, value_serializer="json")
    app.dataframe(source).apply(features, stateful=True).to_topic(target)
    app.run()


def features(value: dict[str, Any], state: Any) -> dict[str, Any]:
    now = int(datetime.fromisoformat(value["time"]).timestamp() * 1_000_000)
    events = state.get("events", [])
    events.append([now, round(value["amount"] * 100)])
    first = next(place for place, each in enumerate(events) if each[0] > now - DAYS[-1] * DAY_US)
    events = events[first:]
    state.set("events", events)
    return {"id": value["id"], **windows(events)}


if __name__ == "__main__":
    run(Job.given())
