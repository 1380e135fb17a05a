"""`headrace demo`."""

from __future__ import annotations

import click


@click.command()
@click.option("--seconds", type=float, default=60.0, show_default=True, help="End after so long.")
@click.option("--forever", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--rate", type=float, help="Records a second; by default as fast as it goes.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, another world.")
def demo(seconds: float, forever: bool, rate: float | None, seed: int) -> None:
    """Watch simulated card traffic go through the whole loop.

    Payments are scored, chargebacks come days later, models learn from them, all in this process.
    It shows throughput, latency, and how good each model is, and ends with a summary and a report.

    \b
    Example
      headrace demo --seconds 20
    """
    from jobs.demo import demo as watch

    watch(seconds=seconds, forever=forever, rate=rate, seed=seed)
