"""`headrace subscribe`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from jobs.commands.configured import configured
from jobs.commands.values import FILTER, SINCE
from streams.topics import TOPICS

if TYPE_CHECKING:
    from jobs.clients.subscribe import Start
    from jobs.clients.topic_filter import Clause
    from jobs.config import Settings


@click.command()
@click.argument("topic", type=click.Choice(list(TOPICS)))
@click.option(
    "--from", "start", type=SINCE, default="end", show_default=True,
    help="beginning, end, a duration before now such as 10m, or a time of appending.",
)  # fmt: skip
@click.option("--count", type=click.IntRange(1), help="End after so many.")
@click.option(
    "--filter", "wanted", type=FILTER, multiple=True,
    help="Only such records, as decision=review or score>=0.5. All of several.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="JSON lines on a terminal too.")
@configured()
def subscribe(
    settings: Settings,
    topic: str,
    start: Start,
    count: int | None,
    wanted: tuple[Clause, ...],
    as_json: bool,
) -> None:
    """Show the records of a topic as they come, until Ctrl-C.

    On a terminal each is a line of a table, at most 20 a second, the others counted; elsewhere, or
    with --json, each is the line of JSON that it is. No consumer group is joined.

    \b
    Examples
      headrace subscribe predictions
      headrace subscribe predictions --filter decision=review --filter 'score>=0.9'
      headrace subscribe examples --from 10m | jq .score
      headrace subscribe models --from beginning --count 10
    """
    from rich.console import Console

    from jobs.clients.subscribe import JsonLines, begin
    from jobs.clients.subscribe import subscribe as follow
    from jobs.clients.topic_reader import TopicReader
    from jobs.clients.topic_view import View
    from jobs.interrupt import interruptible

    with TopicReader(settings.broker(), settings.topic(topic)) as reader:
        begin(reader, start)
        with interruptible() as interrupt:
            pretty = sys.stdout.isatty() and not as_json
            view = View(topic, Console(), every=count is not None)
            show = view.show if pretty else JsonLines(sys.stdout.buffer)
            follow(reader, wanted, count, show, lambda: interrupt.asked)
    if interrupt.asked:
        raise SystemExit(130)
