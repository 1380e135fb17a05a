"""What a new model version every five seconds costs: pairs of runs with and without, in turn.

No learn job runs; versions of the fraud pipeline's champion are published by the benchmark itself.
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
from jobs.load.rounds import alternate

RUNS = 10
SECONDS, SWAP_SECONDS = 30.0, 5.0
RATE = 5_000


def run() -> dict[str, Any]:
    """Milliseconds with and without, the ratio of p99 in each pair, the longest pause of a swap."""
    load = Load(rate=RATE, seconds=SECONDS)
    with opened(Settings(), Traffic(history=HISTORY), fresh=True, learns=False) as ready:
        targets = [ready.headrace, swapping(ready, SWAP_SECONDS)]
        series = alternate(ready.generator, targets, load, RUNS, say)
        pause = ready.headrace.metric("headrace_model_swap_longest_seconds")
        swaps = ready.headrace.metric("headrace_model_swaps_total")
    without, with_swaps = (each.runs for each in series.values())
    ratios = [
        one.latency_ms["p99"] / other.latency_ms["p99"]
        for one, other in zip(with_swaps, without, strict=True)
    ]
    quarter = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {
        "found": summary(series),
        "p99_ratio": statistics.median(ratios),
        "p99_ratio_quartiles": [quarter[0], quarter[2]],
        "longest_pause_ms": pause * 1000,
        "swaps": swaps,
    }


def show(result: dict[str, Any]) -> None:
    """Print the result of `run`."""
    console = Console(width=130)
    console.print(table(result["found"], f"{RATE:,} events/s, a swap every {SWAP_SECONDS:g} s"))
    low, high = result["p99_ratio_quartiles"]
    console.print(
        f"p99 with swaps / without: median {result['p99_ratio']:.2f}, quartiles {low:.2f} to "
        f"{high:.2f}; longest pause of {result['swaps']:.0f} swaps "
        f"{result['longest_pause_ms']:.2f} ms",
        highlight=False,
    )


if __name__ == "__main__":
    show(run())
