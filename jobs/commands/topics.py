"""`headrace topics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobs.commands.configured import configured

if TYPE_CHECKING:
    from jobs.config import Settings

PARTITIONS = click.option(
    "--partitions",
    type=click.IntRange(1),
    help="How many partitions transactions, labels and predictions have. By default 1 where "
    "they are made, and any number where they are there.",
)


@click.group()
def topics() -> None:
    """Make the topics, or see what there is of them.

    \b
    Examples
      headrace topics create
      headrace topics create --brokers kafka:9092 --prefix shop. --partitions 4
      headrace topics describe --prefix shop.
    """


@topics.command()
@configured()
@PARTITIONS
@click.pass_context
def create(context: click.Context, settings: Settings, partitions: int | None) -> None:
    """Make the topics that are missing.

    A topic that is there is never changed: what of it is not as wanted is said, a line for each
    difference with the command that changes it, and the status is 1.
    """
    from jobs.clients.topics import create_topics, describe_topics

    cluster = (settings.brokers, settings.prefix, settings.security(), partitions)
    made = create_topics(*cluster)
    click.echo(f"made {', '.join(made)}" if made else "all topics are there")
    differences = [line for each in describe_topics(*cluster) for line in each.differences]
    for line in differences:
        click.echo(f"left as it is: {line}", err=True)
    context.exit(1 if differences else 0)


@topics.command()
@configured()
@PARTITIONS
def describe(settings: Settings, partitions: int | None) -> None:
    """Show each topic: what it holds, its key, partitions, how long it is kept, what differs."""
    from rich.console import Console

    from jobs.clients.topics import describe_topics
    from jobs.clients.topics_view import table

    found = describe_topics(settings.brokers, settings.prefix, settings.security(), partitions)
    console = Console(highlight=False, soft_wrap=True)
    for each in table(found):
        console.print(each)
