"""`headrace state export` and `headrace state import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jobs.commands.configured import configured
from jobs.commands.flink import ADDRESS, SECONDS, TARGET, cluster_of, local
from jobs.commands.stack import FOLDER

if TYPE_CHECKING:
    from jobs.config import Settings


@click.command("export")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR",
    help="The folder to write; for a job on Flink one that the whole cluster can write to.",
)  # fmt: skip
@click.option(
    "--job", metavar="JOB", help="A job on Flink, by name or id: it is stopped with a savepoint."
)
@click.option(
    "--savepoint", metavar="URI", help="A savepoint that a job on Flink was stopped with."
)
@ADDRESS
@FOLDER
@TARGET
@SECONDS
@click.option(
    "--lanes", type=click.IntRange(1, 32_768), default=16, show_default=True,
    help="Of the job that wrote the savepoint.",
)  # fmt: skip
@click.option(
    "--parallelism", type=click.IntRange(1, 32_768), default=1, show_default=True,
    help="Tasks that write it, on Flink.",
)  # fmt: skip
@configured("group", "state", "pipeline", "order", "delivery")
def export(
    settings: Settings,
    *,
    out: Path,
    job: str | None,
    savepoint: str | None,
    address: str | None,
    folder: Path,
    target: str | None,
    timeout: float,
    lanes: int,
    parallelism: int,
) -> None:
    """Write the state of a score job to a folder, for another engine to go on from.

    Key records, ids, labels that wait, events held back, positions in the topics, counts and the
    version of the model: of the `headrace run` whose folder --state is and which has ended, or of a
    job on Flink. Learning is not moved: `headrace learn` goes on where it is.

    \b
    Examples
      headrace state export --out moving
      headrace flink submit --from moving
      headrace state export --job headrace --out back
      headrace state import back --state .headrace/again
    """
    from jobs.load_pipeline import load_pipeline
    from jobs.travel.embedded import leave
    from jobs.travel.portable import refuse_existing

    refuse_existing(out)
    pipeline = load_pipeline(settings.pipeline)
    if not job and not savepoint:
        portable = leave(settings.state / "score", pipeline)
    else:
        from jobs.flink_host.cluster import ENDED
        from jobs.flink_host.moving import bring_out
        from jobs.flink_host.order import FlinkOrder

        cluster = cluster_of(address, folder)
        if job:
            found = cluster.job(job).id
            lanes = cluster.lanes(found)
            savepoint = cluster.stop(found, target, timeout)
            cluster.wait(found, ENDED, timeout)
            click.echo(f"job {found} stopped: {savepoint}", err=True)
        order = FlinkOrder(
            name=f"state export {out.name}",
            parallelism=parallelism,
            lanes=lanes,
            checkpoint_ms=3_600_000,
            savepoint=savepoint or "",
            leaving=str(out.absolute().with_name(f"{out.name}.lanes")),
        )
        portable = bring_out(cluster, order, settings, pipeline, local(folder).client())
    portable.save(out, pipeline.definition)
    click.echo(f"{out}: {portable.summary()}")


@click.command("import")
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path))
@configured("state", "pipeline", "order")
def import_(settings: Settings, *, source: Path) -> None:
    """Make what `headrace state export --out DIR` wrote the state of a `headrace run`.

    The folder --state must have no state of a score job yet; state of a learn job stays as it is.
    Into a job on Flink such a state is brought by `headrace flink submit --from DIR`.

    \b
    Example
      headrace state import back --state .headrace/again
      headrace run --state .headrace/again
    """
    from jobs.load_pipeline import load_pipeline
    from jobs.travel.embedded import arrive
    from jobs.travel.portable import Portable

    pipeline = load_pipeline(settings.pipeline)
    portable = Portable.load(source, pipeline.definition)
    arrive(portable, settings, pipeline)
    click.echo(f"{settings.state / 'score'}: {portable.summary()}")
