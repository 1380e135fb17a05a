"""Detectors beside River's: what a value costs, false alarms, and delays where these are as many.

Run as `python -m benchmarks.run --only detectors`, or some `--parts` of it: cost,
false_alarms_ADWIN, delay_ADWIN and so on. Where River's detectors are run over many streams, our
kernels stand in for them with River's settings: `cost` first checks that they give the same alarms,
and so does tests/test_detectors.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.detector_streams import (
    AT_RATE,
    DEFAULTS,
    KINDS,
    OURS,
    REPEATS,
    RIVERS,
    SHAPES,
    SIZES,
    VALUES,
    best,
    rivers,
    tuned,
)
from benchmarks.outcomes import outcomes
from operators.drift.detector import Detector, Floats

RIVER_VALUES, RIVER_SAMPLED = 100_000, 2_000
"""Of River's detectors; of its KSWIN, which takes a third of a millisecond for one."""
STREAMS_EACH, LONGEST = 200, 1_000_000
"""Stationary streams of a kind, and after how many values without an alarm one is given up."""
CHANGED, BEFORE, AFTER = 100, 3_000, 20_000
"""Streams a change, values before it, and values in which it is waited for."""


def cost() -> dict[str, Any]:
    """Nanoseconds a value, River's beside, which tells at the same places."""
    from river import drift

    named: dict[str, Callable[[], Any]] = {
        "ADWIN": drift.ADWIN,
        "Page-Hinkley": drift.PageHinkley,
        "DDM": drift.binary.DDM,
        "KSWIN": lambda: drift.KSWIN(seed=1),
    }
    out = {}
    for name, theirs in named.items():
        kind = "errors, a fifth" if name == "DDM" else "gaussian" if name == "KSWIN" else "log loss"
        n = RIVER_SAMPLED if name == "KSWIN" else RIVER_VALUES
        level = np.repeat([0.0, 1.0, 0.0, 1.0], VALUES // 4)
        values = KINDS[kind](np.random.default_rng(1), level)
        part = KINDS[kind](np.random.default_rng(2), np.repeat([0.0, 1.0], n // 2))
        same, taken = rivers_run(theirs, part)
        assert RIVERS[name](DEFAULTS[name]).update_many(part).alarms.tolist() == same, name
        kept = OURS[name](100_000, 0)
        ours = best(partial(run_over, RIVERS[name](DEFAULTS[name]), values))
        ranked = best(partial(run_over, kept, values))
        out[name] = {
            "river": taken / n * 1e9,
            "ours": ours / VALUES * 1e9,
            "ours, run length kept": ranked / VALUES * 1e9,
            "times cheaper": taken / n / (ours / VALUES),
            "alarms compared": len(same),
        }
    return out


def rivers_run(make: Callable[[], Any], values: Floats) -> tuple[list[int], float]:
    """Where River's detector tells, and the seconds of its fastest run."""
    fastest = math.inf
    found: list[int] = []
    for _ in range(REPEATS):
        detector, found, listed = make(), [], values.tolist()
        start = time.process_time()
        for i, value in enumerate(listed):
            detector.update(value)
            if detector.drift_detected:
                found.append(i)
        fastest = min(fastest, time.process_time() - start)
    return found, fastest


def run_over(detector: Detector, values: Floats) -> None:
    detector.update_many(values)


def first_alarm(detector: Detector, stream: Iterator[Floats]) -> tuple[int, bool]:
    """Values seen until the first alarm, and whether there was one before they ended."""
    seen = 0
    for values in stream:
        alarms = detector.update_many(values).alarms
        if len(alarms):
            return seen + int(alarms[0]) + 1, True
        seen += len(values)
    return seen, False


def chunks(kind: str, seed: int, total: int, chunk: int) -> Iterator[Floats]:
    rng = np.random.default_rng([seed, 2])
    for _ in range(total // chunk):
        yield KINDS[kind](rng, np.zeros(chunk))


def mean_run(runs: list[tuple[int, bool]]) -> dict[str, float | None]:
    """Mean run length of streams, some given up: values by alarms, as of exponential run lengths.

    The interval is of 95 %: that of a Poisson number of alarms, by Wilson and Hilferty.
    """
    values, alarms = sum(n for n, _ in runs), sum(told for _, told in runs)

    def bound(count: float, z: float) -> float:
        return count * (1 - 1 / (9 * count) + z / (3 * math.sqrt(count))) ** 3 if count else 0.0

    low, high = bound(alarms, -1.96), bound(alarms + 1, 1.96)
    return {
        "run length": values / alarms if alarms else None,
        "from": values / high,
        "to": values / low if alarms else None,
        "streams with an alarm": alarms,
    }


def false_alarms(name: str) -> dict[str, Any]:
    """By kind of stream: ours at the stated 100,000, River's at its defaults."""
    out: dict[str, Any] = {}
    for kind in KINDS:
        runs = [
            first_alarm(OURS[name](100_000, seed), chunks(kind, seed, LONGEST, 50_000))
            for seed in range(STREAMS_EACH)
        ]
        out[kind] = {"stated": 100_000, **mean_run(runs)}
        if name == "DDM" and not kind.startswith("errors"):
            continue
        runs = [
            first_alarm(RIVERS[name](DEFAULTS[name]), chunks(kind, seed, LONGEST // 5, 10_000))
            for seed in range(STREAMS_EACH)
        ]
        out[kind]["river"] = mean_run(runs)
    return out


def delays(
    make: Callable[[int], Detector], kind: str, shape: str, size: float
) -> dict[str, float | None]:
    """Of streams without an alarm before the change: the share that tells, and when."""
    found, asked = [], 0
    for seed in range(CHANGED):
        rng = np.random.default_rng([seed, 3])
        level = size * SHAPES[shape](rng, np.arange(-BEFORE, AFTER, dtype=np.float64))
        alarms = make(seed).update_many(KINDS[kind](rng, level)).alarms
        if len(alarms) and alarms[0] < BEFORE:
            continue
        asked += 1
        found.append(float(alarms[0] - BEFORE) if len(alarms) else math.inf)
    told = sum(math.isfinite(each) for each in found)
    return {
        "told": told / asked,
        "median delay": float(np.median(found)) if 2 * told > asked else None,
        "mean delay, at most": float(np.mean(np.minimum(found, AFTER))),
    }


def delay(name: str) -> dict[str, Any]:
    """By stream, shape and size: ours at a run length of 10,000, River's tuned to it."""
    out: dict[str, Any] = {}
    for kind in KINDS:
        if name == "DDM" and not kind.startswith("errors"):
            continue
        setting, length = tuned(name, kind)
        for shape in SHAPES:
            for size, by in SIZES.items():
                out[f"{kind}, {shape}, {size}"] = {
                    "ours": delays(partial(OURS[name], AT_RATE), kind, shape, by),
                    "river": delays(partial(rivers, name, setting), kind, shape, by),
                    "river's setting": setting,
                    "river's run length": length,
                }
    return out


FALSE, DELAY = "false_alarms_", "delay_"
PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "cost": cost,
    "outcomes": outcomes,
    **{FALSE + name: partial(false_alarms, name) for name in OURS},
    **{DELAY + name: partial(delay, name) for name in OURS},
}


def run() -> dict[str, Any]:
    """What each part found; see there."""
    return {name: part() for name, part in PARTS.items()}


def show(result: dict[str, Any]) -> None:
    """Print the result of `run`."""
    console = Console(width=120)
    for name, figures in result.items():
        table = next(made for begin, made in TABLES.items() if name.startswith(begin))
        console.print(table(name, figures), highlight=False)


def cost_table(_: str, figures: dict[str, Any]) -> Table:
    shown = Table("detector", *next(iter(figures.values())), title="nanoseconds a value")
    for name, row in figures.items():
        shown.add_row(name, *(f"{each:,.0f}" for each in row.values()))
    return shown


def outcome_table(_: str, figures: dict[str, Any]) -> Table:
    shown = Table("what", "figure", title="watching outcomes; River's watch the log loss")
    for name, figure in figures.items():
        shown.add_row(name, "never" if figure is None else f"{figure:,.2f}")
    return shown


def length_table(name: str, figures: dict[str, Any]) -> Table:
    shown = Table(
        "stream", "stated", "measured, 95 %", "River's at its defaults",
        title=f"{name.removeprefix(FALSE)}: values from one false alarm to the next",
    )  # fmt: skip
    for kind, row in figures.items():
        shown.add_row(kind, f"{row['stated']:,}", span(row), span(row.get("river")))
    return shown


def span(row: dict[str, float] | None) -> str:
    if row is None:
        return "errors only"
    if not row["streams with an alarm"]:
        return f"above {row['from']:,.0f}"
    return f"{row['run length']:,.0f} ({row['from']:,.0f} to {row['to']:,.0f})"


def delay_table(name: str, figures: dict[str, Any]) -> Table:
    shown = Table(
        "stream, change", "ours", "River's, tuned to the stream",
        title=f"{name.removeprefix(DELAY)}: median delay (share told) at {AT_RATE:,} values",
    )  # fmt: skip
    for change, row in figures.items():
        both = row["ours"], row["river"]
        shown.add_row(
            change, *(f"{late(each['median delay'])} ({each['told']:.0%})" for each in both)
        )
    return shown


def late(delay: float | None) -> str:
    return "never" if delay is None else f"{delay:,.0f}"


TABLES: dict[str, Callable[[str, dict[str, Any]], Table]] = {
    "cost": cost_table,
    "outcomes": outcome_table,
    FALSE: length_table,
    DELAY: delay_table,
}

if __name__ == "__main__":
    show(run())
