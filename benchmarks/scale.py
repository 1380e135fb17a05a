"""What a rate of events takes on Flink: `python -m benchmarks.scale --rate 100000 --keys 5e7`.

Reads `docs/bench/flink.json`, which `python -m benchmarks.run --only flink` makes, and prints what
each resource comes to. With `--write docs/scale.md` it makes the tables of that page anew: each
stands below the command that prints it.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import click

from benchmarks.prove import ROOT
from streams.atomic import write_whole

FIGURES = ROOT / "docs" / "bench" / "flink.json"
BLOCK = re.compile(r"<!-- python -m benchmarks\.scale (.+?) -->\n.*?<!-- end -->\n", re.DOTALL)

EXAMPLES = """\b
Examples
  python -m benchmarks.scale --rate 1000
  python -m benchmarks.scale --rate 100000 --keys 5e7 --peak 3 --disk 2000
  python -m benchmarks.scale --measured
  python -m benchmarks.scale --write docs/scale.md
"""


@click.command(epilog=EXAMPLES)
@click.option("--rate", type=click.FloatRange(1), help="Events a second, in the mean.")
@click.option(
    "--keys",
    type=click.FloatRange(1),
    default=5e6,
    show_default=True,
    help="Keys that are alive, of each entity of the pipeline.",
)
@click.option(
    "--peak",
    type=click.FloatRange(1),
    default=2,
    show_default=True,
    help="The busiest hour's rate beside the mean.",
)
@click.option(
    "--checkpoint",
    type=click.FloatRange(0.1),
    default=10,
    show_default=True,
    help="Seconds between checkpoints.",
)
@click.option(
    "--load",
    type=click.FloatRange(0.05, 1),
    default=0.5,
    show_default=True,
    help="The share of its processor, network and time for checkpoints that a task uses "
    "at the peak; what is left is for catching up after a failure.",
)
@click.option(
    "--memory", type=click.FloatRange(3), default=16, show_default=True, help="GB of a TaskManager."
)
@click.option("--disk", type=click.FloatRange(1), default=500, show_default=True, help="GB of it.")
@click.option(
    "--network",
    type=click.FloatRange(1),
    default=125,
    show_default=True,
    help="MB a second that it can send, and take; 125 is a gigabit.",
)
@click.option("--pipeline", default="fraud", show_default=True, help="Whose windows and horizons.")
@click.option(
    "--figures",
    type=click.Path(path_type=Path, exists=True),
    default=FIGURES,
    help="What was measured, in place of docs/bench/flink.json.",
)
@click.option("--measured", is_flag=True, help="Print what was measured, and nothing else.")
@click.option(
    "--write",
    type=click.Path(path_type=Path, exists=True),
    help="Make the tables of this page anew, by the command above each.",
)
def main(**options: Any) -> None:
    """Say what a rate of events takes on Flink, and what breaks first.

    Every figure is measured on one task (docs/bench/flink.json) and multiplied; docs/scale.md says
    what that leaves out. A task is one slot of a TaskManager that has no other.
    """  # fmt: skip
    if page := options["write"]:
        write_whole(page, [rewritten(page.read_text("utf-8"), options["figures"]).encode()])
    else:
        click.echo(said(options))


def rewritten(page: str, figures: Path) -> str:
    """A page, its tables made anew."""

    def made(found: re.Match[str]) -> str:
        given = [*shlex.split(found[1]), "--figures", str(figures)]
        options = main.make_context("scale", given).params
        head = found[0].split("\n", 1)[0]
        return f"{head}\n\n{said(options)}\n\n<!-- end -->\n"

    return BLOCK.sub(made, page)


def said(options: dict[str, Any]) -> str:
    """The tables that the options ask for. Raises UsageError where there are no figures."""
    from benchmarks.capacity import Measured, Task, Wanted
    from benchmarks.capacity_tables import capacity, figures
    from jobs.fraud import pipeline as measured_one
    from jobs.load_pipeline import load_pipeline

    found = json.loads(options["figures"].read_text("utf-8"))["result"]
    if missing := {"throughput", "keys", "state"} - found.keys():
        parts = ",".join(sorted(missing))
        raise click.UsageError(
            f"{options['figures']}: wanted the parts {parts}, got none of them: run "
            f"`python -m benchmarks.run --only flink --parts {parts}`"
        )
    measured = Measured.of(found, measured_one)
    if options["measured"]:
        return figures(measured, found)
    if options["rate"] is None:
        raise click.UsageError("wanted --rate, events a second; see --help")
    wanted = Wanted(options["rate"], options["keys"], options["peak"], options["checkpoint"])
    task = Task(options["load"], options["memory"], options["disk"], options["network"])
    return capacity(measured, wanted, task, load_pipeline(options["pipeline"]))


if __name__ == "__main__":
    main()
