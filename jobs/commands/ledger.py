"""`headrace ledger`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobs.commands.configured import configured
from jobs.commands.values import MOMENT

if TYPE_CHECKING:
    from jobs.config import Settings


@click.command()
@click.option(
    "--since", type=MOMENT,
    help="What is dated earlier needs no answer: the moment at which the job took over from files.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@configured("pipeline", "order")
def ledger(settings: Settings, since: str | None, as_json: bool) -> None:
    """Recompute from the topics alone where everything that came in is.

    Every transaction is a prediction, a dead letter, a duplicate, or in flight; labels likewise.
    What should have an answer and has none is named, and the status is then 1. The jobs may run
    meanwhile. Ids are kept in temporary files, 32 bytes a record.

    \b
    Example
      headrace ledger
    """
    from rich.console import Console

    from jobs.clients.ledger_view import as_line, tables
    from jobs.clients.topic_ledger import recompute
    from jobs.load_pipeline import load_pipeline
    from jobs.progress import Progress
    from streams.simulation.traffic import moment_us

    with Progress("ledger") as progress:
        found = recompute(
            settings.broker(),
            settings,
            load_pipeline(settings.pipeline),
            moment_us(since) if since else 0,
            progress.show,
        )
    if as_json:
        click.echo(as_line(found))
    else:
        Console().print(*tables(found))
    if found.faults:
        raise SystemExit(1)
