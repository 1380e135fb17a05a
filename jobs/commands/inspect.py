"""`headrace why`, `headrace state` and `headrace check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

RUN = click.option(
    "--run", "folder", required=True, metavar="DIR", type=click.Path(path_type=Path),
    help="What `replay` wrote.",
)  # fmt: skip


@click.command()
@click.argument("id")
@RUN
@click.option("--feature", help="Show one feature, with all the events it reads.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON, for other programs.")
def why(id: str, folder: Path, feature: str | None, as_json: bool) -> None:
    """Show why the event ID was scored as it was.

    The run's input goes through its pipeline once more, up to the event, and state and model are
    then what they were at that instant. Shown are the score, the features, and the events behind
    each, with their labels as far as they were known. Features and scores are compared with what
    the run wrote, to the bit; the status is 1 if any differs.

    \b
    Example
      headrace why 1000042 --run run
      headrace why 1000042 --run run --feature customer_mean_7d
    """
    from rich.console import Console

    from jobs.why import why as explain
    from jobs.why_view import as_json as written
    from jobs.why_view import as_tables

    found = explain(folder, id, only=feature)
    if as_json:
        click.echo(written(found))
    else:
        Console(markup=False, highlight=False).print(as_tables(found))
    if found.differences:
        raise SystemExit(1)


class KeyType(click.ParamType):
    """`customer=42`."""

    name = "key"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        entity, equals, text = str(value).partition("=")
        if not (entity and equals and text):
            self.fail(f"wanted an entity and a key, as in customer=42; got {value!r}", param, ctx)
        return entity, text


KEY = KeyType()


@click.group()
def state() -> None:
    """Look at what a run's state keeps of a key, or remove it.

    \b
    Example
      headrace state show customer=42 --run run
      headrace state forget customer=42 --run run
    """


@state.command()
@click.argument("key", type=KEY)
@RUN
def show(key: tuple[str, str], folder: Path) -> None:
    """Show the record of KEY in the last snapshot of a run.

    KEY is an entity and a key of it. Shown are its events and labels, what its windows hold, the
    bytes it takes, and when it will be forgotten.

    \b
    Example
      headrace state show customer=42 --run run
    """
    from rich.console import Console

    from jobs.keystate import Key
    from jobs.keystate import show as shown
    from jobs.keystate_view import kept_tables

    Console(markup=False, highlight=False).print(kept_tables(shown(folder, Key(*key))))


@state.command()
@click.argument("key", type=KEY)
@RUN
def forget(key: tuple[str, str], folder: Path) -> None:
    """Remove KEY from the state of a run that no process is working on.

    One new snapshot without the key's record takes the place of those that are there. What other
    files still say of it is listed; they are not changed.

    \b
    Example
      headrace state forget customer=42 --run run
    """
    from jobs.keystate import Key
    from jobs.keystate import forget as forgotten
    from jobs.keystate_view import forgotten_text

    click.echo(forgotten_text(forgotten(folder, Key(*key)), str(folder)))


@click.group()
def check() -> None:
    """Check what a run has written.

    \b
    Example
      headrace check skew run
      headrace check leakage run
    """


@check.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--keys", type=click.IntRange(1), default=50, show_default=True, help="Keys of each entity."
)
def skew(folder: Path, keys: int) -> None:
    """Compare logged features with their definitions.

    DIR is what `replay` wrote. Its input is read again, and the features of some keys of each
    entity are computed anew, event by event, in plain Python from the definitions. The status is 1
    if any feature of any event differs by more than the rounding of one division.

    \b
    Example
      headrace check skew run --keys 200
    """
    from rich.console import Console

    from jobs.skew import check_skew, skew_lines, skew_table

    found = check_skew(folder, keys)
    Console(markup=False, highlight=False).print(skew_table(found))
    for line in skew_lines(found):
        click.echo(line)
    if found.differences:
        raise SystemExit(1)


@check.command()
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@click.option(
    "--rows", type=click.IntRange(1), default=200_000, show_default=True,
    help="The last so many labelled events.",
)  # fmt: skip
@click.option(
    "--allow", multiple=True, metavar="FEATURE",
    help="A feature that was looked at and found honest; may be given several times.",
)  # fmt: skip
@click.option(
    "--pipeline", default="fraud", show_default=True,
    help="Whose features a file of examples holds; a run knows its own.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON, for other programs.")
def leakage(path: Path, rows: int, allow: tuple[str, ...], pipeline: str, *, as_json: bool) -> None:
    """Find features that know the label.

    PATH is what `replay` wrote, or a file of what `subscribe examples --json` printed. Each feature
    is tested alone, and all the others without it: one that predicts too well was made of the
    label or of what followed from it. The status is 1 if any does, but for those allowed.

    \b
    Example
      headrace check leakage run
      headrace check leakage examples.ndjson --pipeline shop.py --allow refund_rate --json
    """
    from rich.console import Console

    from jobs.labelled import labelled
    from jobs.leakage import check_leakage
    from jobs.leakage_view import leakage_json, leakage_lines, leakage_table
    from jobs.progress import Progress

    events = labelled(path, pipeline, rows)
    if unknown := [name for name in allow if name not in events.names]:
        names = ", ".join(events.names)
        raise click.UsageError(f"--allow: there is no feature {unknown[0]!r}; there are {names}")
    with Progress("testing") as progress:
        found = check_leakage(events, progress.show)
    if as_json:
        click.echo(leakage_json(found, allow))
    else:
        Console(markup=False, highlight=False).print(leakage_table(found))
        for line in leakage_lines(found, allow):
            click.echo(line)
    if any(each.name not in allow for each in found.leaks):
        raise SystemExit(1)
