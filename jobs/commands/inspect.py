"""`headrace why`, `headrace state` and `headrace check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobs.commands.configured import configured

if TYPE_CHECKING:
    from jobs.config import Settings

WIDE = 100
"""Columns of a table of long names at least, in a pipe too."""
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Everything as JSON, for other programs."
)
RUN = click.option(
    "--run", "folder", required=True, metavar="DIR", type=click.Path(path_type=Path),
    help="What `replay` wrote.",
)  # fmt: skip


@click.command()
@click.argument("id")
@RUN
@click.option("--feature", help="Show one feature, with all the events it reads.")
@JSON
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
    """Check what a run has written, and what its models do.

    \b
    Example
      headrace check skew run
      headrace check leakage run
      headrace check behaviour run
      headrace check slices run
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
@JSON
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


@check.command()
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@click.option(
    "--model-version", "wanted", metavar="VERSION",
    help="A number, a name, or a model for its newest, as `headrace models list` has them. By "
    "default the version that scores.",
)  # fmt: skip
@click.option(
    "--events", type=click.IntRange(1), default=5000, show_default=True,
    help="So many, drawn evenly from all that were logged.",
)  # fmt: skip
@JSON
@configured("pipeline")
def behaviour(
    settings: Settings, *, path: Path, wanted: str | None, events: int, as_json: bool
) -> None:
    """Try whether a version of a model behaves as its pipeline file expects.

    PATH is what `replay` wrote, whose versions are tried; or a file of what `subscribe examples
    --json` printed, for the versions in the topic models. The pipeline file says in `behaviour`
    what a change of inputs must do to the score: little, nothing, raise or lower it. Each is tried
    on logged events. The status is 1 if any does not hold, and events are shown of which it does
    not.

    \b
    Example
      headrace check behaviour run
      headrace check behaviour run --model-version "published inputs"
      headrace check behaviour examples.ndjson --pipeline shop.py --json
    """
    from rich.console import Console

    from jobs.behaviour import tried
    from jobs.behaviour_view import behaviour_json, behaviour_lines, behaviour_table
    from jobs.commands.models import place_of
    from jobs.load_pipeline import load_pipeline
    from jobs.settings import Inputs

    run = path if path.is_dir() else None
    pipeline = Inputs.load(path).load_pipeline() if run else load_pipeline(settings.pipeline)
    found = tried(pipeline, place_of(settings, run), wanted, path, events)
    if as_json:
        click.echo(behaviour_json(found))
    else:
        console = Console(markup=False, highlight=False, width=max(WIDE, Console().width))
        console.print(behaviour_table(found))
        for line in behaviour_lines(found):
            click.echo(line)
    if found.failed:
        raise SystemExit(1)


@check.command()
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@click.option(
    "--rows", type=click.IntRange(1), default=200_000, show_default=True,
    help="The last so many labelled events.",
)  # fmt: skip
@click.option(
    "--effect", type=click.FloatRange(0), default=0.1, show_default=True,
    help="How much worse, in standard deviations of an event's log loss, is much worse.",
)  # fmt: skip
@click.option(
    "--pipeline", default="fraud", show_default=True,
    help="Whose features a file of examples holds; a run knows its own.",
)  # fmt: skip
@JSON
def slices(path: Path, rows: int, effect: float, pipeline: str, *, as_json: bool) -> None:
    """Find slices of the events in which scores do much worse than in the rest.

    PATH is what `replay` wrote, or a file of what `subscribe examples --json` printed. A slice is a
    range of one feature, or of two. Its log loss is compared with what the scores themselves lead
    one to expect, so that it is not taken for bad where positives are merely frequent. The status
    is 1 if any is named.

    \b
    Example
      headrace check slices run
      headrace check slices examples.ndjson --pipeline shop.py --json
    """
    from rich.console import Console

    from jobs.labelled import labelled
    from jobs.progress import Progress
    from jobs.slices import find_slices
    from jobs.slices_view import slices_json, slices_lines, slices_table

    events = labelled(path, pipeline, rows)
    with Progress("searching") as progress:
        found = find_slices(events, effect=effect, said=progress.show)
    if as_json:
        click.echo(slices_json(found))
    else:
        console = Console(markup=False, highlight=False, width=max(WIDE, Console().width))
        console.print(slices_table(found))
        for line in slices_lines(found):
            click.echo(line)
    if found.found:
        raise SystemExit(1)
