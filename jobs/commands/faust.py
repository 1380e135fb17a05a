"""`headrace faust`: the score job as Faust workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobs.commands.configured import configured

if TYPE_CHECKING:
    from jobs.config import Settings


@click.group()
def faust() -> None:
    """Run the score job as Faust workers: the same operators, shared out by a consumer group.

    \b
    Examples
      headrace topics create --partitions 2
      headrace faust worker --state w1 &
      headrace faust worker --state w2
    """


@faust.command()
@click.option(
    "--lanes", type=click.IntRange(1, 1024), metavar="N",
    help="The most workers there can ever be; fixed for the life of their state. By default as "
    "many as the topic transactions has partitions.",
)  # fmt: skip
@click.option(
    "--memory", "memory_mb", type=click.IntRange(1), default=512, show_default=True, metavar="MB",
    help="Of key records that a worker keeps at hand; the rest it reads from its table.",
)  # fmt: skip
@click.option(
    "--checkpoint", "checkpoint_ms", type=click.IntRange(10), default=1000, show_default=True,
    metavar="MS", help="Between commits: what a killed worker did since is done again.",
)  # fmt: skip
@configured("group", "state", "pipeline", "order", "delivery", "linger_ms", "metrics_port")
def worker(settings: Settings, *, lanes: int | None, memory_mb: int, checkpoint_ms: int) -> None:
    """Start a worker; as many as there are lanes share the work, each with a --state of its own.

    It takes transactions and labels from their topics and hands on to predictions, outcomes and
    dead-letters what `headrace run` would, and scores by the newest version in models. Ctrl-C or
    SIGTERM commits and ends.

    \b
    Examples
      headrace faust worker
      headrace faust worker --order strict --state w2
      headrace faust worker --metrics-port 9464
    """
    from jobs.kafka_host.running import start_log
    from streams.errors import ConfigError

    if settings.delivery != "at-least-once":
        raise ConfigError(
            f"delivery: wanted at-least-once, got {settings.delivery}, which Faust workers do not "
            "give (docs/faust.md says why); `headrace run` and `headrace flink submit` do"
        )
    try:
        from jobs.faust_app import run
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"wanted faust-streaming with rocksdict, got {error}: "
            "run `uv sync --inexact --extra faust`"
        ) from error

    start_log("faust", "faust", "mode", "aiokafka")
    run(settings, lanes, memory_mb << 20, checkpoint_ms / 1000)
