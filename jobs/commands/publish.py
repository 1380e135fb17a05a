"""`headrace publish`."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobs.commands.configured import configured
from jobs.commands.values import COLUMNS, DRIFT, DURATION, MOMENT, SPEED

if TYPE_CHECKING:
    from jobs.clients.publish import Published
    from jobs.clients.publisher import Topics
    from jobs.config import Settings

RATE, QUICK = 2000.0, 10_000.0
TRAFFIC = ("with_labels", "customers", "days", "start", "seed", "drift")
FILES = ("columns", "label_delay", "arrivals")


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--simulate", is_flag=True, help="Send simulated card traffic in place of files.")
@click.option("--with-labels", is_flag=True, help="And its chargebacks, when they become known.")
@click.option(
    "--speed", type=SPEED,
    help="So many times as fast as it happened, such as 10000x; or max, as fast as the broker "
    "takes it. By default max for files and 10000x for traffic.",
)  # fmt: skip
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True),
    help="Events a second: the pace of files, whatever their times; of traffic, how dense it is. "
    "By default traffic has 2000 a second.",
)  # fmt: skip
@click.option(
    "--arrivals", type=click.Choice(["steady", "poisson", "burst"]),
    help="What --rate of files means: evenly; at random; or a tenth, and all of it for a second of "
    "every five. By default steady.",
)  # fmt: skip
@click.option(
    "--columns", type=COLUMNS, multiple=True,
    help="Which column of a file holds which field, where the names differ.",
)  # fmt: skip
@click.option(
    "--label-delay", type=DURATION,
    help="Labels lie beside the events; those that say yes are sent so much later.",
)  # fmt: skip
@click.option("--customers", type=click.IntRange(1), help="How many customers traffic is of.")
@click.option(
    "--days", type=click.FloatRange(0, min_open=True), help="End traffic after so many days."
)
@click.option("--start", type=MOMENT, help="Its first day. By default it goes on from the topic.")
@click.option("--seed", type=click.IntRange(0), help="Another seed, other traffic.")
@DRIFT
@configured("pipeline")
def publish(settings: Settings, files: tuple[Path, ...], simulate: bool, **options: Any) -> None:
    """Send events, and labels, to Kafka at their own pace.

    Events go to the topic transactions by their first entity key, labels to the topic labels. FILES
    are Parquet, CSV or NDJSON; lines of NDJSON are sent as they are, also those that no one can
    read. Nothing slows the pace down: what the broker keeps waiting is sent late, and the line of
    progress says how late.

    \b
    Examples
      headrace publish --simulate --with-labels --speed 10000x
      headrace publish --simulate --with-labels --drift unit@2024-03-01..2024-03-08
      headrace publish events.ndjson --rate 1000 --arrivals poisson
      headrace publish payments.parquet --speed 1000x --label-delay 7d \\
        --columns id=TX_ID,time=TX_TIME,customer=CARD,terminal=SHOP,amount=EUR,fraud=FRAUD
    """
    _check(files, options, simulate=simulate)
    done = _traffic(settings, options) if simulate else _files(settings, files, options)
    said = f"sent {done.sent.events:,} events and {done.sent.labels:,} labels"
    if done.lost:
        said += f", of which the broker has not confirmed {done.lost:,}"
    click.echo(f"{said}, in {done.sent.seconds:,.1f} s")
    if done.interrupted:
        raise SystemExit(130)


def _check(files: tuple[Path, ...], options: dict[str, Any], *, simulate: bool) -> None:
    """Refuse what does not go together, as wrong usage."""
    if bool(files) == simulate:
        raise click.UsageError("wanted FILES, or --simulate, and not both")
    for name in FILES if simulate else TRAFFIC:
        if options[name]:
            of = "files" if simulate else "--simulate"
            raise click.UsageError(f"--{name.replace('_', '-')} belongs to {of}")
    if files and options["rate"] and options["speed"]:
        raise click.UsageError("of files, --rate and --speed are two paces: wanted one")
    if options["arrivals"] and not options["rate"]:
        raise click.UsageError("--arrivals says how --rate is meant: wanted that too")


def _topics(settings: Settings) -> Topics:
    from jobs.clients.publisher import Topics
    from streams.topics import LABELS, TRANSACTIONS

    return Topics(settings.topic(TRANSACTIONS), settings.topic(LABELS))


def _traffic(settings: Settings, options: dict[str, Any]) -> Published:
    from jobs.clients.pace import AtOnce, ByTime
    from jobs.clients.publish import publish as send
    from jobs.clients.simulated import beginning, per_day, simulated, world
    from jobs.simulate import parse_drift

    broker, topics = settings.broker(), _topics(settings)
    speed = options["speed"] or QUICK
    paced = speed < math.inf
    after = beginning(broker, topics.events)
    now_us = time.time_ns() // 1000
    traffic = world(
        after,
        now_us,
        start=options["start"],
        days=options["days"],
        per_day=per_day(options["rate"] or RATE, speed if paced else QUICK),
        customers=options["customers"],
        seed=options["seed"] or 0,
        drifts=tuple(map(parse_drift, options["drift"])),
    )
    records = simulated(traffic, after.id, now_us, with_labels=options["with_labels"])
    return send(broker, topics, records, ByTime(speed) if paced else AtOnce())


def _files(settings: Settings, files: tuple[Path, ...], options: dict[str, Any]) -> Published:
    from jobs.clients.outgoing import from_files
    from jobs.clients.pace import AtOnce, ByRate, ByTime, Pace
    from jobs.clients.publish import publish as send
    from jobs.load_pipeline import load_pipeline
    from streams.schema import duration_us

    delay, rate, speed = options["label_delay"], options["rate"], options["speed"] or math.inf
    records = from_files(
        files,
        load_pipeline(settings.pipeline).event,
        {field: column for pairs in options["columns"] for field, column in pairs.items()},
        None if delay is None else duration_us(delay),
    )
    pace: Pace = ByTime(speed) if speed < math.inf else AtOnce()
    if rate:
        pace = ByRate(rate, options["arrivals"] or "steady")
    return send(settings.broker(), _topics(settings), records, pace)
