"""`headrace bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobs.commands.configured import configured
from streams.schema import duration_us

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobs.config import Settings
    from jobs.load.bench import Traffic
    from jobs.load.results import Measured


class Seconds(click.ParamType):
    """`10ms`, `30s` or `5m`; becomes seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        text = str(value)
        try:
            if text.endswith("ms") and text[:-2].isdecimal():
                return int(text[:-2]) / 1000
            return duration_us(text) / 1e6
        except ValueError as error:
            self.fail(str(error), param, ctx)


SECONDS = Seconds()
MEASURED = ("pipeline", "order", "delivery", "commit_ms", "linger_ms", "snapshot_seconds", "fsync")
"""Settings of the jobs that --fresh starts."""


@click.group()
def bench() -> None:
    """Measure latency and throughput through Kafka, open loop.

    Events are sent on a schedule that is made beforehand; a latency runs from the moment an event
    was due to the moment a subscriber has its prediction. docs/load.md says how to read the result.

    \b
    Examples
      headrace bench load --rate 5000 --fresh
      headrace bench saturate --p99 10ms --fresh
    """


def measured(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say what is measured, and by which events."""
    for option in (
        click.option("--history", type=click.IntRange(0), default=0, show_default=True,
                     help="Events sent first, as fast as they go, that do not count."),
        click.option("--per-day", type=click.FloatRange(1), default=10_000, show_default=True,
                     help="Events to a day of their own time."),
        click.option("--keys", type=click.Choice(["uniform", "zipf", "hot"]), default="uniform",
                     show_default=True, help="How customers are drawn."),
        click.option("--warm", type=SECONDS, default="2s", show_default=True,
                     help="Time at the start of each run that does not count."),
        click.option("--fresh", is_flag=True,
                     help="Measure a broker and jobs of its own on this machine, started for it "
                     "and removed after, instead of what runs under the settings."),
    ):  # fmt: skip
        command = option(command)
    return command


@bench.command("load")
@click.option("--rate", type=click.FloatRange(1), required=True, help="Events a second.")
@click.option("--duration", type=SECONDS, default="30s", show_default=True, help="Of each run.")
@click.option(
    "--arrivals", type=click.Choice(["steady", "poisson", "burst"]), default="steady",
    show_default=True, help="Evenly; at random; or a tenth, and all of it for a second of five.",
)  # fmt: skip
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True, help="Of each.")
@click.option(
    "--swap-versions", type=SECONDS,
    help="Compare with new model versions at this interval, without a learn job. Needs --fresh.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="A folder for load.json, with a histogram of each run, and load.svg.",
)  # fmt: skip
@measured
@configured(*MEASURED)
def load(settings: Settings, out: Path | None, **options: Any) -> None:
    """Send events at a rate and say how long predictions take, beside a bare echo.

    Runs of the deployment and of the echo, which takes each record and hands on one of a
    prediction's size, take turns; figures are medians over the runs. A run whose sender was more
    than 15 ms late is repeated, and counted.

    \b
    Examples
      headrace bench load --rate 5000 --fresh
      headrace bench load --rate 10000 --arrivals burst --runs 7 --history 200000 --fresh --out load
      headrace bench load --rate 500 --duration 1m    what `headrace run` is running now
    """
    from rich.console import Console

    from jobs.load.bench import bench_load
    from jobs.load.generator import Load
    from jobs.load.report import processes, summary, table, write

    if options["swap_versions"] and not options["fresh"]:
        raise click.UsageError("--swap-versions publishes versions of its own: wanted --fresh too")
    plan = Load(
        rate=options["rate"],
        seconds=options["duration"],
        warm=options["warm"],
        arrivals=options["arrivals"],
    )
    results = bench_load(
        settings,
        plan,
        _traffic(options),
        runs=options["runs"],
        fresh=options["fresh"],
        swap_seconds=options["swap_versions"] or 0.0,
        told=_say,
    )
    console = Console(width=None if Console().is_terminal else 130)
    title = f"{plan.rate:,.0f} events/s, {plan.arrivals}, {plan.seconds:g} s"
    found = summary(results)
    console.print(table(found, title), processes(found))
    if out:
        for path in write(results, plan, out, title):
            click.echo(f"wrote {path}")


@bench.command()
@click.option("--p99", "limit", type=SECONDS, default="10ms", show_default=True, help="The limit.")
@click.option("--duration", type=SECONDS, default="10s", show_default=True, help="Of each try.")
@click.option(
    "--from", "start", type=click.FloatRange(1), default=2_000, show_default=True,
    help="Events a second of the first try.",
)  # fmt: skip
@measured
@configured(*MEASURED)
def saturate(settings: Settings, limit: float, start: float, **options: Any) -> None:
    """Find the highest rate at which p99 stays under a limit and nothing is missing.

    Doubles the rate until a run of it is not borne, then halves the interval until it is within
    5 %. A rate counts as borne if one of two tries is.

    \b
    Examples
      headrace bench saturate --fresh
      headrace bench saturate --p99 50ms --fresh
    """
    from jobs.load.bench import opened
    from jobs.load.generator import Load
    from jobs.load.saturate import Try, saturate

    def say(tried: Try) -> None:
        p99 = tried.measured.latency_ms["p99"]
        verdict = "borne" if tried.borne else "too much"
        click.echo(f"{tried.rate:10,.0f} events/s  p99 {p99:9.2f} ms  {verdict}")

    plan = Load(rate=start, seconds=options["duration"], warm=options["warm"])
    with opened(settings, _traffic(options), fresh=options["fresh"]) as ready:
        rate = saturate(ready.generator, ready.headrace, plan, limit * 1000, told=say)
    click.echo(f"{rate:,.0f} events/s with p99 within {limit * 1000:g} ms")


def _traffic(options: dict[str, Any]) -> Traffic:
    from jobs.load.bench import Traffic

    return Traffic(options["keys"], options["per_day"], options["history"])


def _say(name: str, run: Measured) -> None:
    found = "  ".join(f"{which} {value:.2f}" for which, value in run.latency_ms.items())
    late = f"  the sender was {run.late_ms['max']:.0f} ms late" if run.late else ""
    click.echo(f"{name:>10}  {found} ms{late}")
