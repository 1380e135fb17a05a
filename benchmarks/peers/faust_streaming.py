"""Faust: a table of lists, one a customer, with its changelog topic."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

from benchmarks.peers.job import DAY_US, DAYS, Job, windows

PACKAGES = ("faust-streaming>=0.15.3,<0.16",)


def run(job: Job) -> None:
    import faust

    app = faust.App(
        f"{job.target}-faust",
        broker=f"kafka://{job.brokers}",
        store="memory://",
        datadir=job.folder,
        topic_partitions=1,
        topic_replication_factor=1,
        topic_disable_leader=True,
        stream_wait_empty=False,
        producer_linger=0.001,
        producer_acks=-1,
        web_enabled=False,
    )
    source = app.topic(job.source, key_type=bytes, value_serializer="json")
    target = app.topic(job.target, key_type=bytes, value_serializer="json")
    past = app.Table("past", default=list, partitions=1)

    async def features(stream: Any) -> None:
        async for key, value in stream.items():
            customer = value["customer"]
            now = int(datetime.fromisoformat(value["time"]).timestamp() * 1_000_000)
            events = [e for e in past[customer] if e[0] > now - DAYS[-1] * DAY_US]
            events.append([now, round(value["amount"] * 100)])
            past[customer] = events
            await target.send(key=key, value={"id": value["id"], **windows(events)})

    app.agent(source)(features)
    sys.argv = ["faust", "worker", "--loglevel=warn", "--without-web"]
    app.main()


if __name__ == "__main__":
    run(Job.given())
