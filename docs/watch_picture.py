"""Draw docs/images/watch.svg: what `headrace watch` shows of a score job and a learn job.

    python docs/watch_picture.py

Both run here, on a broker in memory, over 75 days of simulated traffic: in the last week
amounts come in another unit.
"""

from __future__ import annotations

import tempfile
import time
from io import StringIO
from itertools import islice
from pathlib import Path

from rich.console import Console

from jobs.commands.watch import ADDRESSES
from jobs.config import Settings
from jobs.fraud import pipeline
from jobs.kafka_host.learn_job import LearnJob
from jobs.kafka_host.score_job import ScoreJob
from jobs.monitoring.exposition import exposition
from jobs.monitoring.families import families
from jobs.simulate import simulate
from jobs.watching.alarms import DriftTopic
from jobs.watching.live_jobs import Jobs
from jobs.watching.scrape import Scrape
from jobs.watching.screen import screen
from streams.memory.broker import MemoryBroker
from streams.memory.cluster import Clock, Cluster
from streams.topics import DRIFT, LABELS, TOPICS, TRANSACTIONS

OUT = Path(__file__).parent / "images" / "watch.svg"
WIDTH, HEIGHT = 120, 56
WORLD = {"events": 60_000, "per_day": 800, "customers": 600, "terminals": 300, "fraud_rate": 0.03}
DRIFTS = ["unit@2024-03-08"]
AT_ONCE, OFTEN_S = 40, 0.25


class Now(Clock):
    """The time of day."""

    def __call__(self) -> int:
        return time.time_ns() // 1000


def main() -> None:
    """Run both jobs, watch them, and draw the last screen."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "traffic.ndjson"
        simulate(file, DRIFTS, WORLD)
        cluster = Cluster({each.name: each.partitions for each in TOPICS.values()}, clock=Now())
        broker, settings = MemoryBroker(cluster), Settings(state=Path(folder))
        jobs = (
            ScoreJob(pipeline, broker, settings, threads=False),
            LearnJob(pipeline, broker, settings),
        )
        seen = Jobs(ADDRESSES)
        producer, due = broker.producer(), 0.0
        with file.open("rb") as lines:
            while some := list(islice(lines, AT_ONCE)):
                producer.send(LABELS, [line for line in some if b'"fraud"' in line])
                producer.send(TRANSACTIONS, [line for line in some if b'"fraud"' not in line])
                producer.flush(1.0)
                while sum(each.step(0.0) for each in jobs):
                    pass
                if time.monotonic() > due:
                    seen.take(
                        time.monotonic(), dict(zip(ADDRESSES, map(scrape, jobs), strict=True))
                    )
                    due = time.monotonic() + OFTEN_S
        with DriftTopic(lambda: broker, DRIFT) as drift:
            drift.wait(10.0)
            figures = seen.figures("Ctrl-C ends it", drift.alarms)
        for each in jobs:
            each.close()
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    console.print(screen(figures, width=WIDTH, height=HEIGHT))
    OUT.write_text(console.export_svg(title="headrace watch"), encoding="utf-8")


def scrape(job: ScoreJob | LearnJob) -> Scrape:
    """What it would answer on its port."""
    return Scrape.parsed(exposition(families(job.monitor)).decode())


if __name__ == "__main__":
    main()
