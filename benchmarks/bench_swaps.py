"""What a new model version every five seconds costs, and a decision on top: runs in turn.

No learn job runs; versions of the fraud pipeline's models are published by the benchmark itself.
With a decision a challenger is promoted, what scored before is gone back to, and the champion is
promoted again, in turn.
"""

from __future__ import annotations

import statistics
from typing import Any

from rich.console import Console

from benchmarks.bench_kafka_latency import HISTORY, say
from jobs.config import Settings
from jobs.load.bench import Traffic, opened, swapping
from jobs.load.generator import Load
from jobs.load.report import summary, table
from jobs.load.results import Measured
from jobs.load.rounds import alternate

RUNS = 10
SECONDS, SWAP_SECONDS = 30.0, 5.0
RATE = 5_000


def run() -> dict[str, Any]:
    """Milliseconds of each, the ratios of p99 to that without, the longest pause of a swap."""
    load = Load(rate=RATE, seconds=SECONDS)
    with opened(Settings(), Traffic(history=HISTORY), fresh=True, learns=False) as ready:
        given = [swapping(ready, SWAP_SECONDS), swapping(ready, SWAP_SECONDS, decides=True)]
        series = alternate(ready.generator, [ready.headrace, *given], load, RUNS, say)
        pause = ready.headrace.metric("headrace_model_swap_longest_seconds")
        swaps = ready.headrace.metric("headrace_model_swaps_total")
    without, with_swaps, with_decisions = (each.runs for each in series.values())
    return {
        "found": summary(series),
        "p99_ratio": ratio(with_swaps, without),
        "p99_ratio_decisions": ratio(with_decisions, without),
        "longest_pause_ms": pause * 1000,
        "swaps": swaps,
    }


def ratio(some: list[Measured], others: list[Measured]) -> list[float]:
    """Of p99, run by run: the median and the quartiles."""
    pairs = zip(some, others, strict=True)
    ratios = [one.latency_ms["p99"] / other.latency_ms["p99"] for one, other in pairs]
    quarter = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return [statistics.median(ratios), quarter[0], quarter[2]]


def show(result: dict[str, Any]) -> None:
    """Print the result of `run`."""
    console = Console(width=130)
    console.print(table(result["found"], f"{RATE:,} events/s, a swap every {SWAP_SECONDS:g} s"))
    for name, key in (("swaps", "p99_ratio"), ("decisions too", "p99_ratio_decisions")):
        median, low, high = result[key]
        console.print(
            f"p99 with {name} / without: median {median:.2f}, quartiles {low:.2f} to {high:.2f}",
            highlight=False,
        )
    console.print(
        f"longest pause of {result['swaps']:.0f} swaps {result['longest_pause_ms']:.2f} ms",
        highlight=False,
    )


if __name__ == "__main__":
    show(run())
