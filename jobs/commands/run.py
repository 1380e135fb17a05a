"""`headrace run` and `headrace learn`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jobs.commands.configured import configured

if TYPE_CHECKING:
    from jobs.config import Settings

SCORING = ("group", "state", "pipeline", "order", "delivery", "commit_ms", "snapshot_seconds")
SERVING = ("linger_ms", "fsync", "metrics_port", "online")
LEARNING = ("group", "state", "pipeline", "delivery", "commit_ms", "snapshot_seconds")


@click.command()
@click.option("--learn", "learns", is_flag=True, help="Run the learn job too, as a second process.")
@click.option(
    "--from", "files", type=click.Path(path_type=Path), metavar="DIR",
    help="Go on from what `headrace replay --out DIR` left: state, model and log; then take from "
    "the topics what came after it.",
)  # fmt: skip
@click.option(
    "--warm-up", is_flag=True,
    help="Go on with the state of a pipeline with other features also where the new ones cannot be "
    "exact from the next event on.",
)  # fmt: skip
@configured(*SCORING, *SERVING)
def run(settings: Settings, *, learns: bool, files: Path | None, warm_up: bool) -> None:
    """Score what comes to Kafka: transactions and labels in, predictions out.

    Every transaction gets a prediction in the topic predictions, keyed by its customer; what cannot
    be read goes to dead-letters, with the reason. Model versions are taken from the topic models as
    the learn job publishes them; until the first, the prior scores. Ctrl-C or SIGTERM commits and
    ends; a job that was killed goes on where it was.

    \b
    Examples
      headrace up                                   Kafka and Redis on this machine
      headrace run --learn                          score and learn
      headrace run --order strict --delivery exactly-once
      headrace run --learn --from history           go on from a replay of files
      headrace run --online redis://127.0.0.1:6379  and keep the latest features in Redis
    """
    from contextlib import ExitStack
    from dataclasses import replace

    from jobs.kafka_host.companion import Companion
    from jobs.kafka_host.running import drive, log, start_log, stopping
    from jobs.kafka_host.score_job import ScoreJob
    from jobs.kafka_host.takeover import take_over
    from jobs.load_pipeline import load_pipeline

    start_log("score")
    pipeline = load_pipeline(settings.pipeline)
    if files:
        take_over(files, settings, pipeline)
    with ExitStack() as stack:
        online = None
        if settings.online:
            from jobs.online.store import OnlineStore

            online = OnlineStore(settings.online, pipeline)
            stack.callback(online.close, 2.0)
        job = ScoreJob(pipeline, settings.broker(), settings, online=online, warm_up=warm_up)
        stop = stack.enter_context(stopping())
        job.monitor.online = online
        log.info("%s", job.began())
        host, port = settings.metrics_host, settings.metrics_port
        if not learns:
            drive(job, stop, host, port)
            return
        of_learning = replace(settings, metrics_port=port and port + 1)
        companion = stack.enter_context(Companion(of_learning.environment()))
        drive(job, stop, host, port, companion.look_after)


@click.command()
@click.option("--with-parent", "parent", type=int, hidden=True)
@configured(*LEARNING, "metrics_port")
def learn(settings: Settings, *, parent: int | None) -> None:
    """Learn from labels as they become known, and publish versions of the model.

    Reads the topics outcomes and predictions, which the score job writes; publishes to models and
    examples. It gives way to scoring where both want the processor. Killed and started again it
    makes the same versions.

    \b
    Examples
      headrace learn
      headrace learn --metrics-port 9465
    """
    from jobs.kafka_host.giving_way import give_way
    from jobs.kafka_host.learn_job import LearnJob
    from jobs.kafka_host.running import drive, end_with_parent, log, start_log, stopping
    from jobs.load_pipeline import load_pipeline

    start_log("learn")
    if parent is not None:
        end_with_parent(parent)
    give_way()
    job = LearnJob(load_pipeline(settings.pipeline), settings.broker(), settings)
    with stopping() as stop:
        log.info("%s", job.began())
        drive(job, stop, settings.metrics_host, settings.metrics_port)
