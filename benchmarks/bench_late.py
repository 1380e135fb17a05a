"""False alarms of what watches outcomes and shares of frauds, at default settings.

Run as `python -m benchmarks.run --only late`, or some of it with `--parts "bursts 0,bursts 25"`.

Streams in which nothing changes: 1,000 events a day, 8 % of them frauds, labels after two days in
the median, a maturity of seven. `iid`: every event by itself. `seasonal`: hours and weekdays have
their own traffic, and nights more frauds. `bursts`: frauds come in cases as those of the simulator
do, of 16 to 60 in ten days, 5 to 15 in six, 2 to 15 in some hours; those of a case score alike.

Each is watched until its first alarm, or for 1,200 days; the days watched by alarms are the run
length; its interval of 95 % is that of a count of so many alarms. Days before a monitor says
anything (the maturity, and those its first figures are compared with) count as well. River's
detectors beside, at their defaults, are told the log loss of each example as its label comes, DDM
whether a decision at one half was wrong; their steps are taken by kernels that give River's results
to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from benchmarks.labelled import Labelled, scope
from operators.drift.adwin import Adwin
from operators.drift.bucket import Monitor, Watcher
from operators.drift.concept import Concept
from operators.drift.ddm import Ddm
from operators.drift.delay import LabelDelay
from operators.drift.kswin import Kswin
from operators.drift.page_hinkley import PageHinkley
from operators.drift.performance import Performance
from operators.drift.prior import Positives
from streams.schema import DAY

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

STREAMS, DAYS, PER_DAY, SHARE, MATURITY = 200, 1200, 1000, 0.08, 7 * DAY
STATED = 365.0
WATCHERS: dict[str, tuple[Callable[[int], Watcher], int]] = {
    "Positives": (lambda _: Positives(), DAY),
    "Performance": (lambda _: Performance(), DAY),
    "Concept": (lambda seed: Concept(run_length=STATED * PER_DAY * SHARE, seed=3 * seed), DAY),
    "LabelDelay": (lambda _: LabelDelay(), DAY // 12),
}
"""Each by the seed of its stream, with how long its buckets are: where all streams broke the ties
of ranks alike, their alarms would not be independent."""
RIVERS: dict[str, Adwin | Ddm | Kswin | PageHinkley] = {
    "River ADWIN": Adwin(delta=0.002),
    "River Page-Hinkley": PageHinkley(threshold=50.0),
    "River KSWIN": Kswin(alpha=0.005, seed=1),
    "River DDM": Ddm(drift_threshold=3.0),
}
KINDS = ("iid", "seasonal", "bursts")
PIECE = 25
PARTS = {f"{kind} {first}": (kind, first) for kind in KINDS for first in range(0, STREAMS, PIECE)}
"""By the first stream of those that are watched in one go."""
CASES = ((0.34, 16, 60, 10.0), (0.24, 2, 8, 0.2), (0.20, 5, 15, 0.02), (0.22, 5, 15, 6.0))
"""Of frauds, how many a case has, from, to, and days it goes on for."""
WARM = 45
"""Days since when there are cases."""
WEEKDAYS = np.array([1.0, 0.96, 1.0, 1.06, 1.2, 1.0, 0.7])


def stream(seed: int, days: int, kind: str) -> Labelled:
    """Events of some days."""
    random, frauds = np.random.default_rng(seed), int(days * PER_DAY * SHARE)
    if kind == "bursts":
        time_us, alike = _cases(random, days)
    else:
        time_us, alike = random.integers(0, days * DAY, frauds), np.zeros(frauds)
    if kind == "seasonal":
        time_us = time_us[random.random(frauds) < _pace(time_us, 0.4)]
        alike = np.zeros(len(time_us))
    genuine = random.integers(0, days * DAY, days * PER_DAY - frauds)
    if kind == "seasonal":
        genuine = genuine[random.random(len(genuine)) < _pace(genuine, 0.8)]
    fraud = np.arange(len(time_us) + len(genuine)) < len(time_us)
    z = random.normal(-4, 1.3, len(fraud)) + 3 * fraud
    z[: len(time_us)] += alike
    time_us = np.concatenate([time_us, genuine])
    order = np.argsort(time_us, kind="stable")
    delay_us = 2 * DAY * np.exp(0.6 * random.normal(0, 1, len(fraud)))
    return Labelled.of(
        time_us[order], 1 / (1 + np.exp(-1.5 * z[order] - 1)), fraud[order], delay_us, MATURITY
    )


def _cases(random: np.random.Generator, days: int) -> tuple[Int64s, Floats]:
    """When frauds are that come in cases, and by how much those of a case score alike."""
    times, alike = [], []
    for part, least, most, lasts in CASES:
        rate = PER_DAY * SHARE * part / ((least + most) / 2)
        count = random.poisson(rate * (days + WARM))
        sizes = random.integers(least, most + 1, count)
        length = lasts * np.exp(0.4 * random.normal(size=count))
        case = np.repeat(np.arange(count), sizes)
        begun = random.uniform(-WARM, days, count)[case]
        times.append(begun + random.random(len(case)) * length[case])
        alike.append(0.7 * random.normal(size=count)[case])
    day = np.concatenate(times)
    inside = (day >= 0) & (day < days)
    return (day[inside] * DAY).astype(np.int64), np.concatenate(alike)[inside]


def _pace(time_us: Int64s, swing: float) -> Floats:
    """Of events at these times, the share that happens: by the hour and the weekday, below 1."""
    hour = np.sin((time_us % DAY / DAY - 0.375) * 2 * np.pi)
    return np.asarray((1 + swing * hour) * WEEKDAYS[time_us // DAY % 7] / (1.2 * (1 + swing)))


def first_alarm(monitor: Monitor, events: Labelled, length_us: int) -> tuple[float, bool]:
    """Days until the first alarm, or the end; whether there was one."""
    for bucket in events.buckets(length_us):
        if monitor.close(bucket):
            return bucket.end_us / DAY, True
    return DAYS, False


def first_of_rivers(name: str, events: Labelled) -> tuple[float, bool]:
    """The same of a detector that is told each example by itself, a day at a time."""
    detector, end = RIVERS[name].bind(), DAYS * DAY
    order = np.argsort(events.known_us, kind="stable")[: np.count_nonzero(events.known_us < end)]
    y, score, known = (each[order] for each in (events.y, events.score, events.known_us))
    values = -np.log(np.where(y == 1, score, 1 - score))
    if name == "River DDM":
        values = ((score >= 0.5) != (y == 1)).astype(np.float64)
    for start in range(0, len(values), PER_DAY):
        found = detector.update_many(values[start : start + PER_DAY]).alarms
        if len(found):
            return float(known[start + found[0]]) / DAY, True
    return DAYS, False


def watched(kind: str, first: int) -> dict[str, dict[str, float]]:
    """Days watched and streams with an alarm, of a piece of the streams, by monitor."""
    names = (*WATCHERS, *RIVERS)
    found = {name: {"streams": PIECE, "days": 0.0, "alarms": 0} for name in names}
    for seed in range(first, first + PIECE):
        events = stream(seed, DAYS, kind)
        for name in names:
            if name in RIVERS:
                until, alarm = first_of_rivers(name, events)
            else:
                watcher, length_us = WATCHERS[name]
                monitor = watcher(seed).bind(scope(MATURITY, 0.01, {}))
                until, alarm = first_alarm(monitor, events, length_us)
            found[name]["days"] += until
            found[name]["alarms"] += alarm
    return found


def run() -> dict[str, Any]:
    """Days watched and alarms by kind of stream and piece."""
    return {part: watched(*PARTS[part]) for part in PARTS}


def table(results: dict[str, Any]) -> Table:
    """A line for each monitor and kind: days from one false alarm to the next."""
    made = Table(title="false alarms where nothing changes")
    for column in ("", "", "streams", "alarms", "days from one to the next", "stated"):
        made.add_column(column, justify="right" if column else "left")
    for kind in KINDS:
        for name in (*WATCHERS, *RIVERS):
            rows = [row[name] for part, row in results.items() if part.startswith(kind)]
            streams, days, alarms = (
                sum(row[key] for row in rows) for key in ("streams", "days", "alarms")
            )
            if alarms:
                stated = f"{STATED:.0f}" if name in WATCHERS else ""
                length, wide = days / alarms, math.exp(1.96 / math.sqrt(alarms))
                told = f"{length:.0f} ({length / wide:.0f} to {length * wide:.0f})"
                made.add_row(name, kind, f"{streams:.0f}", f"{alarms:.0f}", told, stated)
    return made
