"""`headrace models`: which versions there are, and which of them scores."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobs.commands.configured import configured

if TYPE_CHECKING:
    from jobs.config import Settings
    from jobs.promotion.catalogue import Catalogue
    from jobs.promotion.places import Place
    from models.decisions import Decision

RUN = click.option(
    "--run", "folder", type=click.Path(path_type=Path), metavar="DIR",
    help="The --out of a replay, in place of the topic.",
)  # fmt: skip
BY = click.option("--by", help="Who decides: by default your login.")
REASON = click.option("--reason", default="", metavar="TEXT", help="Why, for the log.")
WIDE = 100
"""Columns of a listing at least, in a pipe too."""
JSON = click.option("--json", "as_json", is_flag=True, help="As JSON, for other programs.")


@click.group()
def models() -> None:
    """See the versions of the models, and decide which of them scores.

    A pipeline's champion and its challengers all learn from everything, and each makes versions.
    Without a decision the newest version of the champion scores. `promote` has the newest version
    of a challenger score, now and from then on; `rollback` has one version score again and stay.
    Learning goes on untouched by either. A score job, on Kafka, Flink or Faust, obeys within a
    second, and after a restart. Every decision stays in the log.

    \b
    Examples
      headrace models list
      headrace models diff 41 40
      headrace models promote "published inputs" --reason "better AP for a week"
      headrace models rollback                      to what scored before
      headrace models rollback 1.35
      headrace models promote champion              the pipeline's own, and its newest again
      headrace models export network fraud.onnx     for other servers

    A version has a number and a name, major.minor.pipeline, as in 1.35.9f3a12cc. Major is a course
    of learning: another one wherever a model began from nothing. Minor counts the versions of that
    course. The last part is the hash of the pipeline it was made for.
    """


@models.command("list")
@RUN
@click.option("--all", "everything", is_flag=True, help="Every version, not the newest 20.")
@JSON
@configured("pipeline")
def list_(settings: Settings, *, folder: Path | None, everything: bool, as_json: bool) -> None:
    """List versions, which of them scores, and every decision.

    AUC and AP are those of the model's scores in the last window of time that closed before.

    \b
    Examples
      headrace models list
      headrace models list --run run
    """
    from rich.console import Console

    from jobs.promotion.view import as_json as written
    from jobs.promotion.view import listing

    catalogue = place_of(settings, folder).read()
    if as_json:
        click.echo(written(catalogue))
        return
    console = Console(highlight=False, width=max(WIDE, Console().width))
    for each in listing(catalogue, 0 if everything else 20):
        console.print(each)


@models.command()
@click.argument("version")
@RUN
@JSON
@configured("pipeline")
def show(settings: Settings, *, version: str, folder: Path | None, as_json: bool) -> None:
    """Show all that is known of VERSION: a number, a name, or a model for its newest.

    \b
    Examples
      headrace models show 41
      headrace models show 1.35
      headrace models show champion
    """
    from jobs.promotion.view import page, version_as_json

    catalogue = place_of(settings, folder).read()
    found = catalogue.find(version)
    if as_json:
        click.echo(version_as_json(found, catalogue))
        return
    for line in page(found, catalogue):
        click.echo(line)


@models.command()
@click.argument("version")
@click.argument("other", required=False)
@RUN
@configured("pipeline")
def diff(settings: Settings, *, version: str, other: str | None, folder: Path | None) -> None:
    """Show what VERSION and OTHER have otherwise: by default the version that scores.

    Parameters, what was learnt from, quality, code, and how many weights differ by how much.

    \b
    Examples
      headrace models diff 41 40
      headrace models diff "published inputs"
    """
    from rich.console import Console

    from jobs.promotion.view import comparison, tensors

    place = place_of(settings, folder)
    catalogue = place.read()
    one, two = (catalogue.find(each) for each in (version, other or str(catalogue.in_force)))
    weights = ["weights: not kept of both, so not compared"]
    if {one.sequence, two.sequence} <= catalogue.kept:
        weights = tensors(place.load(one.sequence), place.load(two.sequence))
    Console(highlight=False, soft_wrap=True).print(comparison(one, two, weights))


@models.command()
@click.argument("version")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@RUN
@configured("pipeline")
def export(settings: Settings, *, version: str, file: Path, folder: Path | None) -> None:
    """Write VERSION to FILE for other programs; its ending says how.

    \b
      .onnx          scores by itself in any server of ONNX models; of `Neural` alone
      .safetensors   the arrays of any model; kind, inputs and settings as its metadata

    \b
    Examples
      headrace models export network fraud.onnx
      headrace models export 1.35 champion.safetensors --run run
    """
    from jobs.promotion.export import exported, want_known
    from streams.atomic import write_whole

    want_known(file)
    place = place_of(settings, folder)
    found = place.read().find(version)
    raw = exported(found, place.load(found.sequence), file)
    write_whole(file, [raw])
    click.echo(f"{file}: {found.name} {found.title}, version {found.sequence}, {len(raw):,} bytes")


@models.command()
@click.argument("model")
@RUN
@BY
@REASON
@configured("pipeline")
def promote(settings: Settings, *, model: str, folder: Path | None, **about: str) -> None:
    """Have MODEL score: its newest version now, and each that follows.

    MODEL is the name of a challenger, or one of its versions; `champion` is the model that the
    pipeline file declares as that. What scored before becomes a challenger and learns on.

    \b
    Examples
      headrace models promote "published inputs" --reason "better AP for a week"
      headrace models promote champion
    """
    decide(settings, folder, lambda there, **said: there.promote(model, **said), **about)


@models.command()
@click.argument("version", required=False)
@RUN
@BY
@REASON
@configured("pipeline")
def rollback(settings: Settings, *, version: str | None, folder: Path | None, **about: str) -> None:
    """Have VERSION score again, and no newer one until the next decision.

    By default that is the version that scored before the last promotion, or else the one before
    that which scores. Learning goes on; `promote` has the newest version score again. Versions
    whose weights are kept can be gone back to: the newest, ever fewer of the older ones, and all
    that a decision has named.

    \b
    Examples
      headrace models rollback --reason "alerts doubled"
      headrace models rollback 1.35
    """
    decide(settings, folder, lambda there, **said: there.rollback(version, **said), **about)


def place_of(settings: Settings, folder: Path | None) -> Place:
    """Where the versions are."""
    from jobs.load_pipeline import load_pipeline
    from jobs.promotion.places import FolderPlace, TopicPlace
    from jobs.settings import Inputs

    if folder is None:
        return TopicPlace(settings.broker(), settings, load_pipeline(settings.pipeline))
    inputs = Inputs.load(folder)
    return FolderPlace(Path(inputs.state) / "models", inputs.load_pipeline())


def login() -> str:
    """Whose process this is."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def decide(
    settings: Settings,
    folder: Path | None,
    wanted: Callable[..., Decision],
    *,
    by: str | None,
    reason: str,
) -> None:
    """Decide what is wanted of a catalogue, and say what came of it."""
    from jobs.promotion.view import sentence
    from streams.errors import StateError

    place = place_of(settings, folder)
    catalogue: Catalogue = place.read()
    said: dict[str, Any] = {"by": by or login(), "reason": reason}
    decision = wanted(catalogue, **said, at_us=time.time_ns() // 1000)
    there = place.decide(decision)
    if (there.by, there.at_us, there.sequence) != (decision.by, decision.at_us, decision.sequence):
        raise StateError(
            f"{catalogue.where}: another decision came first, and this one does not count: "
            f"{sentence(there)}; look at headrace models list and decide again"
        )
    click.echo(sentence(there))
