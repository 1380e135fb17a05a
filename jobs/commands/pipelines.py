"""`headrace describe` and `headrace init`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("pipeline")
def describe(pipeline: str) -> None:
    """Show what a pipeline is made of.

    PIPELINE is a file, or `fraud`, the one that is shipped. Shown are the event and its fields,
    every feature with its definition and how far back it looks, the bytes each key takes, and the
    inputs of the models.

    \b
    Example
      headrace describe fraud
    """
    from rich.console import Console

    from jobs.describe import describe as described
    from jobs.load_pipeline import load_pipeline

    Console().print(described(load_pipeline(pipeline)))


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Write a commented pipeline to start from into DIR.

    DIR gets pipeline.py and README.md; neither is written over if it is there.

    \b
    Example
      headrace init shop && headrace describe shop/pipeline.py
    """
    from jobs.starter import write_starter

    for path in write_starter(folder):
        click.echo(f"wrote {path}")
