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

from operators.drift.adwin import Adwin
from operators.drift.ddm import Ddm
from operators.drift.detector import Detector, Floats
from operators.drift.kswin import Kswin
from operators.drift.page_hinkley import PageHinkley

REPEATS = 3
VALUES = 1_000_000
RIVER_VALUES, RIVER_SAMPLED = 100_000, 2_000
"""Of River's detectors; of its KSWIN, which takes a third of a millisecond for one."""
STREAMS_EACH, LONGEST = 200, 1_000_000
"""Stationary streams of a kind, and after how many values without an alarm one is given up."""
AT_RATE = 10_000
"""Run length at which delays are compared."""
CHANGED, BEFORE, AFTER = 100, 3_000, 20_000
"""Streams a change, values before it, and values in which it is waited for."""
OVER = 1_000
"""Values that a gradual or incremental change takes."""
SIZES = {"small": 0.25, "middle": 0.5, "large": 1.0}


def gaussian(rng: np.random.Generator, level: Floats) -> Floats:
    """A change by so many standard deviations."""
    return rng.normal(level, 1.0)


def rare(rng: np.random.Generator, level: Floats) -> Floats:
    """Errors, 0.8 % at first; up to three times as many."""
    return (rng.random(len(level)) < 0.008 * (1 + 2 * level)).astype(np.float64)


def frequent(rng: np.random.Generator, level: Floats) -> Floats:
    """Errors, a fifth at first; up to twice as many."""
    return (rng.random(len(level)) < 0.2 * (1 + level)).astype(np.float64)


def losses(rng: np.random.Generator, level: Floats) -> Floats:
    """Log losses of scores that know 0.8 % of positives from the others, less and less well."""
    z = rng.normal(-6.0, 2.0, len(level))
    y = rng.random(len(level)) < 1 / (1 + np.exp(-z))
    lost = y & (rng.random(len(level)) < 0.6 * level)
    z[lost] = rng.normal(-6.0, 2.0, np.count_nonzero(lost))
    return np.where(y, np.log1p(np.exp(-z)), np.log1p(np.exp(z)))


KINDS: dict[str, Callable[[np.random.Generator, Floats], Floats]] = {
    "gaussian": gaussian,
    "errors, a fifth": frequent,
    "errors, 0.8 %": rare,
    "log loss": losses,
}
SHAPES: dict[str, Callable[[np.random.Generator, Floats], Floats]] = {
    "sudden": lambda _, t: (t >= 0).astype(np.float64),
    "gradual": lambda rng, t: (t / OVER > rng.random(len(t))).astype(np.float64),
    "incremental": lambda _, t: np.clip(t / OVER, 0.0, 1.0),
}
Made = Callable[[], Detector]
OURS: dict[str, Callable[[float, int], Detector]] = {
    "ADWIN": lambda length, seed: Adwin(run_length=length, seed=seed).bind(),
    "Page-Hinkley": lambda length, seed: PageHinkley(run_length=length, seed=seed).bind(),
    "DDM": lambda length, seed: Ddm(run_length=length, seed=seed).bind(),
    "KSWIN": lambda length, seed: Kswin(run_length=length, seed=seed).bind(),
}
RIVERS: dict[str, Callable[[float], Detector]] = {
    "ADWIN": lambda delta: Adwin(delta=delta).bind(),
    "Page-Hinkley": lambda threshold: PageHinkley(threshold=threshold).bind(),
    "DDM": lambda threshold: Ddm(drift_threshold=threshold).bind(),
    "KSWIN": lambda alpha: Kswin(alpha=alpha, seed=1).bind(),
}
"""With one setting of River's, the others at River's defaults."""
DEFAULTS = {"ADWIN": 0.002, "Page-Hinkley": 50.0, "DDM": 3.0, "KSWIN": 0.005}


def rivers(name: str, setting: float, seed: int) -> Detector:  # noqa: ARG001 - as ours are made
    return RIVERS[name](setting)


def stationary(kind: str, n: int, seed: int) -> Floats:
    return KINDS[kind](np.random.default_rng([seed, 1]), np.zeros(n))


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


def best(once: Callable[[], Any]) -> float:
    """Seconds of processor time of the fastest of a few runs, after one that warms up."""
    once()
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        once()
        taken.append(time.process_time() - start)
    return min(taken)


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


def tuned(name: str, kind: str) -> tuple[float, float]:
    """The setting of River's that makes `AT_RATE` on this kind of stream, and what it makes."""
    scale = {"ADWIN": -1.0, "KSWIN": -1.0}.get(name, 1.0)
    low, high = {
        "ADWIN": (-12.0, 5.0), "Page-Hinkley": (-3.0, 9.0), "DDM": (0.0, 3.0), "KSWIN": (-20.0, 0.0)
    }[name]  # fmt: skip
    values = stationary(kind, 100 * AT_RATE if name == "KSWIN" else 300 * AT_RATE, 7)

    def length(setting: float) -> float:
        found = len(RIVERS[name](math.exp(setting)).update_many(values).alarms)
        return len(values) / max(found, 0.5)

    for _ in range(12):
        middle = (low + high) / 2
        if (length(middle) > AT_RATE) == (scale > 0):
            high = middle
        else:
            low = middle
    setting = low if scale < 0 else high
    return math.exp(setting), length(setting)


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
    FALSE: length_table,
    DELAY: delay_table,
}

if __name__ == "__main__":
    show(run())
