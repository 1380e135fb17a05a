"""`headrace watch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jobs.commands.configured import configured

if TYPE_CHECKING:
    from jobs.config import Settings

ADDRESSES = ("127.0.0.1:9464", "127.0.0.1:9465")


@click.command()
@click.argument("folder", required=False, metavar="[DIR]", type=click.Path(path_type=Path))
@click.option(
    "--job", "jobs", multiple=True, metavar="HOST:PORT",
    help="Where a job answers /metrics; may be given several times. By default "
    f"{' and '.join(ADDRESSES)}, as `run --learn --metrics-port 9464` has them.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Print one screen and end.")
@configured()
def watch(settings: Settings, *, folder: Path | None, jobs: tuple[str, ...], once: bool) -> None:
    """Watch running jobs, or a replay, in the terminal.

    Of jobs it shows what their /metrics say, asked every second: traffic and how far behind they
    are, latency, scores and decisions, how late labels come, the features that are missing most,
    how good each model is, and what has drifted; with the newest alarms of the topic drift. Rates
    and latencies are of the last minute. Nothing of the jobs waits for it.

    DIR is what `replay` writes, while it runs or after.

    What is wrong is red. Ctrl-C ends it. Without a terminal it prints a line every ten seconds.

    \b
    Examples
      headrace run --learn --metrics-port 9464 &
      headrace watch
      headrace watch --job score:9464 --job learn:9464
      headrace watch run
      headrace watch run --once > run.txt
    """
    from rich.console import Console

    from jobs.watching.watch import of_jobs, show_live, show_once

    show, console = show_once if once else show_live, Console()
    if folder is not None:
        from jobs.watching.run_folder import RunFolder

        show(RunFolder(folder).figures, console)
        return
    from jobs.watching.alarms import DriftTopic
    from streams.topics import DRIFT

    with DriftTopic(settings.broker, settings.topic(DRIFT)) as drift:
        show(of_jobs(jobs or ADDRESSES, drift, once=once), console)
