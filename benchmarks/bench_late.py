"""False alarms of what watches shares of frauds, performance and label delays, at default settings.

Run as `python -m benchmarks.bench_late`.

Streams in which nothing changes: 2,500 events a day, 3 % of them frauds, labels after two days in
the median, a maturity of seven. Each is watched until its first alarm, or for 400 days; the days
watched by alarms are the run length; its interval of 95 % is that of a count of so many alarms.
Days before a monitor says anything (the maturity, and those its first figures are compared with)
count as well.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.labelled import Labelled, scope
from operators.drift.bucket import Monitor, Watcher
from operators.drift.delay import LabelDelay
from operators.drift.performance import Performance
from operators.drift.prior import Positives
from streams.schema import DAY

STREAMS, DAYS, PER_DAY, MATURITY = 200, 400, 2500, 7 * DAY
PARTS: dict[str, tuple[Watcher, int]] = {
    "Positives": (Positives(), DAY),
    "Performance": (Performance(), DAY),
    "LabelDelay": (LabelDelay(), DAY // 12),
}
"""Each with how long its buckets are."""
STATED = 365


def stream(seed: int, days: int) -> Labelled:
    """Events of some days."""
    random, n = np.random.default_rng(seed), days * PER_DAY
    time_us = np.sort(random.integers(0, days * DAY, n))
    fraud = random.random(n) < 0.03
    z = 1.5 * (random.normal(-4, 1.3, n) + 3 * fraud) + 1
    delay_us = 2 * DAY * np.exp(0.6 * random.normal(0, 1, n))
    return Labelled.of(time_us, 1 / (1 + np.exp(-z)), fraud, delay_us, MATURITY)


def first_alarm(monitor: Monitor, seed: int, length_us: int) -> tuple[float, bool]:
    """Days until the first alarm, or the end; whether there was one."""
    for bucket in stream(seed, DAYS).buckets(length_us):
        if monitor.close(bucket):
            return bucket.end_us / DAY, True
    return DAYS, False


def measured(watcher: Watcher, length_us: int) -> dict[str, Any]:
    """The run length over the streams, and how many of them had an alarm."""
    days = alarms = 0.0
    for seed in range(STREAMS):
        monitor = watcher.bind(scope(MATURITY, 0.01, {}))
        until, alarm = first_alarm(monitor, seed, length_us)
        days, alarms = days + until, alarms + alarm
    length, wide = days / max(alarms, 1.0), math.exp(1.96 / math.sqrt(max(alarms, 1.0)))
    return {
        "streams": STREAMS,
        "alarms": alarms,
        "stated days": STATED,
        "days": length,
        "from": length / wide,
        "to": length * wide,
    }


def run() -> dict[str, Any]:
    """Run lengths by monitor."""
    return {name: measured(*part) for name, part in PARTS.items()}


def table(results: dict[str, Any]) -> Table:
    """A line for each monitor."""
    made = Table(title="false alarms where nothing changes: days from one to the next")
    for column in ("", *next(iter(results.values()))):
        made.add_column(column, justify="right" if column else "left")
    for name, row in results.items():
        made.add_row(name, *(f"{figure:,.0f}" for figure in row.values()))
    return made


if __name__ == "__main__":
    Console().print(table(run()))
