"""`headrace evaluate`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--protocol",
    type=click.Choice(["handbook"]),
    help="handbook: the folds and metrics of the Fraud Detection Handbook, beside what is "
    "published for it.",
)
def evaluate(folder: Path, protocol: str | None) -> None:
    """Say how good the scores of a replay are.

    DIR is what `replay` wrote. Without a protocol this shows its metrics.json: every score judged
    by the label that came after it. With `--protocol handbook` the labels are read again from the
    replay's input, and the result is also written to DIR/handbook.json.

    \b
    Example
      headrace evaluate run --protocol handbook
    """
    from rich.console import Console

    from jobs.judge import by_handbook, metrics_tables

    console = Console()
    if protocol is None:
        console.print(*metrics_tables(folder))
        return
    table, warnings = by_handbook(folder)
    console.print(table)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
