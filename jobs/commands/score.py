"""`headrace score`."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("source", metavar="-", type=click.Choice(["-"]), expose_value=False)
@click.option("--pipeline", default="fraud", show_default=True, help="A pipeline file, or a name.")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="Begin with what a replay has learnt: its state folder (OUT/state). It is read, not "
    "changed. By default nothing is known and every score is the prior.",
)
def score(pipeline: str, state: Path | None) -> None:
    """Score NDJSON from standard input, in a pipe.

    Each line is an event or a label of one. Each event gives a line of JSON on standard output:
    id, time, score, decision, reasons, model_version, features. What cannot be read is a line of
    JSON on standard error. Labels are learnt from as they come, and an event that comes again is
    not answered again. Lines are answered as soon as they are there.

    \b
    Example
      echo '{"id": "1", "time": "2024-03-01T12:00:00Z", "customer": "7", "terminal": "9",
        "amount": 12.50}' | tr -d '\\n' | headrace score - --state run/state
    """
    from jobs.load_pipeline import load_pipeline
    from jobs.shell import Shell, score_stream

    with Shell(load_pipeline(pipeline), state) as shell:
        score_stream(shell, sys.stdin.fileno(), sys.stdout.buffer, sys.stderr.buffer)
