"""`headrace simulate`."""

from __future__ import annotations

from pathlib import Path

import click

from jobs.commands.values import DRIFT, DURATION, MOMENT

SHARE = click.FloatRange(0, 1)


@click.command()
@click.option(
    "--out", required=True, type=click.Path(path_type=Path),
    help="A .parquet file (payments, the truth beside each) or an .ndjson file (payments, and "
    "labels as they become known).",
)  # fmt: skip
@click.option("--events", type=click.IntRange(1), help="End after so many payments.")
@click.option("--days", type=float, help="End after so many days. By default 60.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, another world.")
@click.option("--start", type=MOMENT, default="2024-01-01", show_default=True, help="First day.")
@click.option("--per-day", type=float, default=10_000, show_default=True, help="Payments a day.")
@click.option("--customers", type=int, default=5_000, show_default=True)
@click.option("--terminals", type=int, default=10_000, show_default=True)
@click.option("--fraud-rate", type=float, default=0.007, show_default=True, help="Share of fraud.")
@click.option(
    "--label-delay", type=DURATION, default="3d", show_default=True,
    help="Median time until a fraud is reported.",
)  # fmt: skip
@click.option("--disorder", type=SHARE, default=0.0, help="Share that arrives minutes late.")
@click.option("--late", type=SHARE, default=0.0, help="Share that arrives hours to days late.")
@click.option("--duplicates", type=SHARE, default=0.0, help="Share that is sent twice.")
@click.option("--conflicts", type=SHARE, default=0.0, help="Share sent again with another amount.")
@click.option("--garbage", type=SHARE, default=0.0, help="Share of malformed lines (NDJSON only).")
@DRIFT
def simulate(out: Path, drift: tuple[str, ...], **options: object) -> None:
    """Make card traffic with known frauds, as a file.

    The same options give the same bytes. The truth about drifts is written beside, to
    NAME.scenario.json. docs/simulator.md describes the world. `replay` refuses
    payments that are dated after today, so let a long simulation begin early enough, or be dense:
    EVENTS / PER-DAY is how many days there will be.

    \b
    Examples
      headrace simulate --days 90 --out traffic.parquet
      headrace simulate --events 100000 --garbage 0.01 --duplicates 0.01 --late 0.01 --out t.ndjson
      headrace simulate --days 90 --drift prior@2024-02-15=3 \\
        --drift prices@2024-02-01..2024-03-01=1.3 --out drifting.parquet
      headrace simulate --days 90 --drift unit@2024-03-01..2024-03-08 \\
        --drift concept@2024-02-15=.5:gradual/14d --out scenario.parquet
    """
    from jobs.simulate import simulate as write

    written = write(out, drift, options)
    counts = ", ".join(f"{count:,} {what}" for what, count in written.items() if count)
    click.echo(f"wrote {out}: {counts}")
