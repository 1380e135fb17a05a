"""False alarms of what watches shares of frauds, performance and label delays, at default settings.

Run as `python -m benchmarks.bench_late`.

Streams in which nothing changes: 1,000 events a day, 8 % of them frauds, labels after two days in
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

STREAMS, DAYS, PER_DAY, SHARE, MATURITY = 200, 400, 1000, 0.08, 7 * DAY
WATCHERS: dict[str, tuple[Watcher, int]] = {
    "Positives": (Positives(), DAY),
    "Performance": (Performance(), DAY),
    "LabelDelay": (LabelDelay(), DAY // 12),
}
"""Each with how long its buckets are."""
PIECE = 50
PARTS = {
    f"{name} {first}": (name, first) for name in WATCHERS for first in range(0, STREAMS, PIECE)
}
"""By the first stream of those that are watched in one go."""
STATED = 365


def stream(seed: int, days: int) -> Labelled:
    """Events of some days."""
    random, n = np.random.default_rng(seed), days * PER_DAY
    time_us = np.sort(random.integers(0, days * DAY, n))
    fraud = random.random(n) < SHARE
    z = 1.5 * (random.normal(-4, 1.3, n) + 3 * fraud) + 1
    delay_us = 2 * DAY * np.exp(0.6 * random.normal(0, 1, n))
    return Labelled.of(time_us, 1 / (1 + np.exp(-z)), fraud, delay_us, MATURITY)


def first_alarm(monitor: Monitor, seed: int, length_us: int) -> tuple[float, bool]:
    """Days until the first alarm, or the end; whether there was one."""
    for bucket in stream(seed, DAYS).buckets(length_us):
        if monitor.close(bucket):
            return bucket.end_us / DAY, True
    return DAYS, False


def watched(name: str, first: int) -> dict[str, float]:
    """Days watched and streams with an alarm, of a piece of the streams."""
    (watcher, length_us), days, alarms = WATCHERS[name], 0.0, 0
    for seed in range(first, first + PIECE):
        monitor = watcher.bind(scope(MATURITY, 0.01, {}))
        until, alarm = first_alarm(monitor, seed, length_us)
        days, alarms = days + until, alarms + alarm
    return {"streams": PIECE, "days": days, "alarms": alarms}


def run() -> dict[str, Any]:
    """Days watched and alarms by monitor and piece."""
    return {part: watched(*PARTS[part]) for part in PARTS}


def table(results: dict[str, Any]) -> Table:
    """A line for each monitor: days from one false alarm to the next."""
    made = Table(title="false alarms where nothing changes")
    for column in ("", "streams", "alarms", "days from one to the next", "stated"):
        made.add_column(column, justify="right" if column else "left")
    for name in WATCHERS:
        rows = [row for part, row in results.items() if part.startswith(name)]
        streams, days, alarms = (
            sum(row[key] for row in rows) for key in ("streams", "days", "alarms")
        )
        if alarms:
            length, wide = days / alarms, math.exp(1.96 / math.sqrt(alarms))
            told = f"{length:.0f} ({length / wide:.0f} to {length * wide:.0f})"
            made.add_row(name, f"{streams:.0f}", f"{alarms:.0f}", told, f"{STATED}")
    return made


if __name__ == "__main__":
    Console().print(table(run()))
