"""`headrace replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from jobs.commands.values import COLUMNS, DURATION, MOMENT


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for results.")
@click.option(
    "--columns",
    type=COLUMNS,
    multiple=True,
    help="Which column holds which field, where the names differ: id=TX_ID,time=WHEN. Naming the "
    "label's column says that labels lie beside the events.",
)
@click.option(
    "--label-delay",
    type=DURATION,
    help="How long after its event a label that lies beside it becomes known, such as 7d. Without "
    "it labels are records of their own (NDJSON only).",
)
@click.option(
    "--pipeline",
    default="fraud",
    show_default=True,
    help="A pipeline file, or the name of the one that is shipped.",
)
@click.option(
    "--until", type=MOMENT, help="Leave out events from this time on, such as 2018-06-01."
)
@click.option(
    "--order",
    type=click.Choice(["arrival", "strict"]),
    default="arrival",
    show_default=True,
    help="strict holds events back by the pipeline's lateness and sorts them; late ones no longer "
    "differ from punctual ones.",
)
@click.option(
    "--batch-size", type=click.IntRange(1, 1_000_000), default=65_536, show_default=True,
    help="Rows taken at a time. It changes the speed and no result.",
)  # fmt: skip
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="Folder of the state. If it holds that of an interrupted replay, that one goes on. By "
    "default OUT/state, begun anew.",
)
def replay(
    files: tuple[Path, ...],
    out: Path,
    columns: tuple[dict[str, str], ...],
    label_delay: str | None,
    pipeline: str,
    until: str | None,
    order: Literal["arrival", "strict"],
    batch_size: int,
    state: Path | None,
) -> None:
    """Run FILES through a pipeline as the stream they once were.

    FILES are Parquet, CSV or NDJSON, read one after the other. Every event is scored before its
    label is known, the label comes later, and is learnt from then. The same input gives the same
    bytes, also when the run is interrupted and gone on with.

    \b
    OUT gets
      predictions.parquet   a row an event: score, decision, model version, features
      dead_letters.ndjson   what could not be read: where it was, and why
      drift.jsonl           alarms: what has changed in the stream, since when
      metrics.json          quality over time, against baselines
      ledger.json           everything that came in, and where it went
      report.html           all of it to look at
      run.json              what was asked, for `evaluate`

    \b
    Example
      headrace replay payments.parquet --out run --label-delay 7d \\
        --columns id=TX_ID,time=TX_TIME,customer=CARD,terminal=SHOP,amount=EUR,fraud=FRAUD
    """
    from rich.console import Console

    from jobs.alarms import said_of_alarms
    from jobs.judge import metrics_tables
    from jobs.replay import replay as run
    from jobs.settings import Inputs

    inputs = Inputs.asked(
        files,
        columns={field: column for pairs in columns for field, column in pairs.items()},
        label_delay=label_delay,
        pipeline=pipeline,
        until=until,
        order=order,
        batch_size=batch_size,
        state=state or out / "state",
    )
    done = run(inputs, out, resume=state is not None)
    if done.interrupted:
        click.echo(
            f"interrupted after {done.rows:,} rows, which are kept; to go on, run the same command "
            f"with --state {state or out / 'state'}",
            err=True,
        )
        raise SystemExit(130)
    Console().print(*metrics_tables(out))
    for line in said_of_alarms(out):
        click.echo(line)
    click.echo(f"{out / 'report.html'} shows the rest")
