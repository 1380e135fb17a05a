"""Who notices a change, how soon, and who cries wolf: our watch beside River's detectors.

Run as `python -m benchmarks.run --only drift`, or some of it with `--parts unit,concept`.

Simulated payments of 100 days, 5,000 a day, go through the fraud pipeline, looking back 30 days at
most, which learns and watches as it goes. Windows are full by day 40, on which counting begins;
what changes does so on day 70. Each scenario has three sizes of change, each of several worlds. A
change is noticed by the first alarm after it, whatever that says; the delay is in events. Alarms
before it are false.

There are two ways to notice, each with its own false alarms: by *inputs* (and scores), before
labels come, and by *outcomes*. The rivals of the first are told the logarithms of amounts as events
came, those of the second log losses as labels came (DDM: whether the decision was wrong). A rival
has the most eager of its settings at which, in the part `stationary`, it raised no more false
alarms than all our monitors of that way together, at their default settings. The steps of River's
detectors are taken by kernels that give River's results to the bit. Frouros compares windows of 500
amounts with the first 5,000, in an environment of its own, which the first run fetches; windows in
a row that are beyond the limit are one alarm.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache, partial
from pathlib import Path
from shutil import which
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from benchmarks.drifting import CHANGED, SETTLED, Floats, Int64s, Stream, streamed, traffic
from benchmarks.peers import frouros_windows
from benchmarks.prove import ROOT
from operators.drift.adwin import Adwin
from operators.drift.concept import Concept
from operators.drift.ddm import Ddm
from operators.drift.kswin import Kswin
from operators.drift.page_hinkley import PageHinkley
from operators.drift.watch import Watch
from streams.simulation.traffic import (
    ConceptShift,
    Drift,
    Holidays,
    InputShift,
    MissingField,
    NewTactic,
    PopulationShift,
    PriceInflation,
    PriorShift,
    Shape,
    SlowAttack,
    TerminalOutage,
    UnitError,
)

REPEATS = 2
STATIONARY = 4
"""Worlds in which nothing changes, for the settings of the rivals."""
SEASONS, PIECE = 20, 5
"""Worlds with holidays in which nobody is to tell a changed concept, and how many are one part."""
OURS = {
    "inputs": "Headrace, inputs",
    "outcomes": "Headrace, outcomes",
}
"""Our monitors, by what they go by."""
OUTCOMES = {"prior", "concept", "calibration", "performance", "label delay"}
"""The kinds of alarm that labels raise; the others need none."""
WATCH = Watch()
KEPT = ROOT / "docs" / "bench" / "drift.json"


def date(day: int) -> str:
    """The day so many after the first."""
    return str((datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day)).date())


class Scenario(NamedTuple):
    """A kind of change with three sizes of it."""

    drift: Drift
    sizes: tuple[float, float, float]

    def of(self, size: float) -> Drift:
        """The change of this size."""
        return replace(self.drift, size=size)


AT = date(CHANGED)
_LAWS: dict[str, Scenario] = {
    "inputs": Scenario(InputShift(AT), (0.2, 0.5, 0.8)),
    "prior": Scenario(PriorShift(AT), (1.5, 2.0, 4.0)),
    "concept": Scenario(ConceptShift(AT), (0.25, 0.5, 1.0)),
}
_SHAPED: tuple[tuple[Shape, str], ...] = (
    ("gradual", "14d"),
    ("incremental", "14d"),
    ("recurring", "7d"),
)
SCENARIOS: dict[str, Scenario] = {
    **_LAWS,
    **{
        f"{law} {shape}": Scenario(replace(scenario.drift, shape=shape, span=span), scenario.sizes)
        for law, scenario in _LAWS.items()
        for shape, span in _SHAPED
    },
    "population": Scenario(PopulationShift(AT), (0.1, 0.3, 0.6)),
    "tactic": Scenario(NewTactic(AT), (0.2, 0.4, 0.8)),
    "attacker": Scenario(SlowAttack(AT, span="30d"), (0.5, 1.0, 2.0)),
    "prices": Scenario(PriceInflation(AT, until=date(CHANGED + 14)), (1.1, 1.3, 2.0)),
    "unit": Scenario(UnitError(AT), (0.01, 0.1, 1.0)),
    "missing": Scenario(MissingField(AT), (0.01, 0.1, 1.0)),
    "outage": Scenario(TerminalOutage(AT), (0.05, 0.2, 0.5)),
    "holidays": Scenario(Holidays(AT, until=date(CHANGED + 21)), (0.2, 0.4, 0.8)),
}


class Told(NamedTuple):
    """An alarm of anybody's: when, of what, where it says."""

    at_us: int
    kind: str = ""
    features: tuple[str, ...] = ()


def ours(stream: Stream, way: str) -> list[Told]:
    """What our watch says one way at its default settings, since windows are full."""
    settled, end = stream.at(SETTLED), stream.traffic.end
    return [
        Told(each.at_us, each.kind, each.features)
        for each in stream.alarms
        if not each.over
        and settled <= each.at_us <= end
        and (each.kind in OUTCOMES) == (way == "outcomes")
    ]


def _values(stream: Stream, of: str) -> tuple[Floats, Int64s]:
    """What a rival is told since windows are full, and when."""
    begin = stream.at(SETTLED)
    if of == "amounts":
        rows = np.flatnonzero(stream.time >= begin)
        amounts = np.log1p(np.nan_to_num(stream.amount[rows]))
        return amounts, stream.time[rows]
    rows = stream.outcomes
    rows = rows[stream.time[rows] >= begin]
    if of == "errors":
        return (stream.review[rows] != stream.y[rows]).astype(np.float64), stream.known[rows]
    return stream.loss[rows], stream.known[rows]


@lru_cache(maxsize=STATIONARY)
def _compared(values: bytes) -> Floats:
    """Frouros' statistics of each window of the values, in its own process."""
    uv = which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    command = [uv, "run", "--no-project", "--quiet", "--python", "3.11"]
    for package in frouros_windows.PACKAGES:
        command += ["--with", package]
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "given.npy", Path(folder) / "out.npy"
        np.save(given, np.frombuffer(values))
        subprocess.run(
            [*command, "python", "-m", frouros_windows.__name__, str(given), str(out)],
            env=os.environ | {"PYTHONPATH": str(ROOT), "VIRTUAL_ENV": ""}, check=True,
        )  # fmt: skip
        found: Floats = np.load(out)
    return found


def frouros(statistic: int, values: Floats, limit: float) -> Int64s:
    """Where Frouros' windows come to lie beyond a limit, by KS (0) or PSI (1)."""
    beyond = _compared(values.tobytes())[:, statistic] > limit
    first = np.flatnonzero(beyond & ~np.concatenate([[False], beyond[:-1]]))
    return frouros_windows.REFERENCE + (first + 1) * frouros_windows.WINDOW - 1


class Rival(NamedTuple):
    """A detector, what it is told, and its settings: the most eager one first."""

    of: str
    alarms: Callable[[Floats, float], Int64s]
    """Places among the values at which it tells a change."""
    settings: tuple[float, ...]

    @property
    def way(self) -> str:
        """Which of ours it is beside."""
        return "inputs" if self.of == "amounts" else "outcomes"


def _rivers(
    make: Callable[[float], Adwin | Ddm | Kswin | PageHinkley], of: str, *settings: float
) -> Rival:
    return Rival(
        of, lambda values, setting: make(setting).bind().update_many(values).alarms, settings
    )


_DELTAS = tuple(10.0**-n for n in range(1, 17))
_LIMITS = tuple(0.01 * 1.1**n for n in range(90))
_THRESHOLDS = tuple(2.0**n for n in range(2, 17))
RIVALS: dict[str, Rival] = {
    f"{name}, {of}": _rivers(make, of, *settings)
    for of in ("amounts", "loss")
    for name, make, settings in (
        ("River ADWIN", lambda delta: Adwin(delta=delta), _DELTAS),
        ("River PageHinkley", lambda limit: PageHinkley(threshold=limit), _THRESHOLDS),
        ("River KSWIN", lambda alpha: Kswin(alpha=alpha, seed=1), _DELTAS),
    )
} | {
    "River DDM, errors": _rivers(
        lambda limit: Ddm(drift_threshold=limit), "errors", *(1.25**n for n in range(1, 17))
    ),
    "Frouros KS, amounts": Rival("amounts", partial(frouros, 0), _LIMITS),
    "Frouros PSI, amounts": Rival("amounts", partial(frouros, 1), _LIMITS),
}


def rival(stream: Stream, name: str, setting: float) -> list[Told]:
    """What a rival says at a setting."""
    values, at = _values(stream, RIVALS[name].of)
    return [Told(each) for each in at[RIVALS[name].alarms(values, setting)].tolist()]


def stationary() -> dict[str, Any]:
    """False alarms where nothing changes, and the settings at which rivals have no more."""
    worlds = [streamed(traffic(100 + seed), WATCH) for seed in range(STATIONARY)]
    events = sum(int((world.time >= world.at(SETTLED)).sum()) for world in worlds)
    found: dict[str, Any] = {"events": events}
    for way, name in OURS.items():
        told = [alarm for world in worlds for alarm in ours(world, way)]
        found[name] = {"alarms": len(told), "kinds": Counter(alarm.kind for alarm in told)}
    for name, each in RIVALS.items():
        found[name] = None
        for setting in reversed(each.settings):
            alarms = sum(len(rival(world, name, setting)) for world in worlds)
            if alarms > found[OURS[each.way]]["alarms"]:
                break
            found[name] = {"setting": setting, "alarms": alarms}
    return found


@cache
def settings() -> dict[str, float | None]:
    """Of each rival the setting that was found on stationary streams; None: there is none."""
    found = json.loads(KEPT.read_bytes())["result"] if KEPT.exists() else {}
    found = found.get("stationary") or stationary()
    return {name: found[name] and found[name]["setting"] for name in RIVALS}


def judged(stream: Stream, alarms: Sequence[Told]) -> dict[str, Any]:
    """Whether and when the change was noticed, and what was said before and after it."""
    changed = stream.at(CHANGED)
    after = [alarm for alarm in alarms if alarm.at_us > changed]
    first = min(after, default=None)
    events = stream.time[(stream.time >= changed)]
    return {
        "delay": first and int(np.searchsorted(events, first.at_us)),
        "first": first and first.kind,
        "features": list(first.features) if first else [],
        "false": len(alarms) - len(after),
        "kinds": sorted({alarm.kind for alarm in after if alarm.kind}),
    }


def summed(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Those of several worlds together: delays are medians of the detected ones."""
    delays = [run["delay"] for run in runs if run["delay"] is not None]
    return {
        "detected": len(delays) / len(runs),
        "delay": statistics.median(delays) if delays else None,
        "false": sum(run["false"] for run in runs),
        "first": Counter(run["first"] for run in runs if run["first"]),
        "features": Counter(feature for run in runs for feature in run["features"][:1]),
        "kinds": Counter(kind for run in runs for kind in run["kinds"]),
    }


def scenario(name: str) -> dict[str, Any]:
    """By size of the change and detector: the share that noticed, after how many events."""
    found: dict[str, Any] = {}
    for size in SCENARIOS[name].sizes:
        runs: dict[str, list[dict[str, Any]]] = {}
        for seed in range(REPEATS):
            stream = streamed(traffic(seed, SCENARIOS[name].of(size)), WATCH)
            for way, who in OURS.items():
                runs.setdefault(who, []).append(judged(stream, ours(stream, way)))
            for other, setting in settings().items():
                if setting is not None:
                    alarms = rival(stream, other, setting)
                    runs.setdefault(other, []).append(judged(stream, alarms))
        found[f"{size:g}"] = {who: summed(each) for who, each in runs.items()}
    return found


def season(first: int) -> dict[str, Any]:
    """By kind the alarms of `Concept` in three weeks of holidays that double traffic, and in the
    same weeks of the same worlds without; positives that became known in these.
    """
    days, watch = CHANGED + 21, Watch(monitors=(Concept(),))
    largest = SCENARIOS["holidays"].of(SCENARIOS["holidays"].sizes[-1])
    found: dict[str, Any] = {}
    for name, drifts in (("holidays", [largest]), ("as ever", [])):
        kinds: Counter[str] = Counter()
        positives = 0
        for seed in range(first, first + PIECE):
            stream = streamed(traffic(seed, *drifts, days=days), watch)
            begin, end = stream.at(CHANGED), stream.at(days)
            positives += int(stream.y[(begin <= stream.known) & (stream.known < end)].sum())
            told = ours(stream, "outcomes")
            kinds.update(each.kind for each in told if begin < each.at_us <= end)
        found[name] = {"worlds": PIECE, "positives": positives, "alarms": kinds}
    return found


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "stationary": stationary,
    **{name: partial(scenario, name) for name in SCENARIOS},
    **{f"season {first}": partial(season, first) for first in range(0, SEASONS, PIECE)},
}


def run() -> dict[str, Any]:
    """What was noticed, by scenario, size and detector."""
    return {name: part() for name, part in PARTS.items()}


def table(results: dict[str, Any]) -> Table:
    """A line for each scenario and size: share that noticed, and median delay in events."""
    made = Table("change", "size", title="noticed, and the median of events until then")
    for who in (*OURS.values(), "says", *RIVALS):
        made.add_column(who.replace("River ", "").replace(", ", "\n"), overflow="fold")
    for name, sizes in results.items():
        if name not in SCENARIOS:
            continue
        for size, by in sizes.items():
            says = ", ".join(sorted({kind for who in OURS.values() for kind in by[who]["kinds"]}))
            owns = [_cell(by[who]) for who in OURS.values()]
            made.add_row(name, size, *owns, says, *(_cell(by.get(who)) for who in RIVALS))
    return made


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    delay = "" if row["delay"] is None else f" {row['delay']:,.0f}"
    return f"{row['detected']:.0%}{delay}"
