"""`headrace features`."""

from __future__ import annotations

import click

from jobs.commands.inspect import KEY


@click.group()
def features() -> None:
    """Look at what the online store holds.

    \b
    Example
      headrace features get customer=42
    """


@features.command()
@click.argument("key", type=KEY)
@click.option(
    "--online",
    metavar="URL",
    envvar="HEADRACE_ONLINE",
    default="redis://127.0.0.1:6379",
    help="The store that `run --online` writes to. A password is better in HEADRACE_ONLINE, or in "
    "a file: redis://host?password_file=PATH.  [default: redis://127.0.0.1:6379]",
)
@click.option(
    "--pipeline", default="fraud", show_default=True, help="A pipeline's name, or its file."
)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON, for other programs.")
def get(key: tuple[str, str], online: str, pipeline: str, as_json: bool) -> None:
    """Show the latest features and score of KEY, an entity and a key of it.

    They are those of the key's latest event. The status is 1 if nothing is held of it.

    \b
    Example
      headrace features get customer=42
      headrace features get terminal=9 --online redis://cache:6379/2 --json
    """
    from rich.console import Console

    from jobs.online import reading

    if pipeline.endswith(".py"):
        from jobs.load_pipeline import load_pipeline

        pipeline = load_pipeline(pipeline).name
    found = reading.find(online, pipeline, *key)
    if as_json:
        click.echo(reading.as_json(found))
    else:
        Console(markup=False, highlight=False).print(reading.as_tables(found))
