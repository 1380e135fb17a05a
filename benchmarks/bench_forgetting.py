"""A tactic that returns after two months: who still knows it, with the past and without.

Run as `python -m benchmarks.bench_forgetting`.

In simulated traffic the tactic `vouchers` is there from day 20 to 60 and again from day 120 on.
Every event is scored, and learnt 7 days later, when its label is known; so in the first week of the
return nothing is known of it but what is remembered. Average precision is of that tactic's payments
among the genuine ones of a week: the last of the first time, the first and the third of the return.
"Never seen" is a world without the first time, which nobody can remember. The forest is not in the
table: of these 25 inputs it does not learn the tactic at all (.03 in the last week of the first
time), so it has nothing to forget.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.bench_features import operator
from benchmarks.transactions import Rows, Transactions, featurize
from jobs.fraud import champion, pipeline
from models.base import Floats, Labels, Model
from models.boosted import Boosted
from models.replay import Replay
from operators.metrics import average_precision
from streams.schema import DAY
from streams.simulation.population import GENUINE, TACTICS
from streams.simulation.simulator import Simulation
from streams.simulation.traffic import NewTactic, Traffic

Ints = npt.NDArray[np.int64]
REPEATS = 2
PER_DAY, FRAUD_RATE, DAYS = 3000, 0.02, 141
FIRST = NewTactic("2024-01-21", until="2024-03-01")
RETURN = NewTactic("2024-04-30")
WEEKS = {"before it left": 53, "on its return": 120, "two weeks later": 134}
"""The first day of each week that is judged."""
DELAY = 7

_FRESH = Boosted(latest=40_000, every=20_000, past=0)
_WITH_PAST = Boosted(latest=40_000, every=20_000, past=20_000)
PARTS: dict[str, tuple[Model, bool]] = {
    "Linear: never seen": (champion, False),
    "Linear: fresh alone": (champion, True),
    "Linear: with the past": (Replay(model=champion), True),
    "Boosted: never seen": (_FRESH, False),
    "Boosted: fresh alone": (_FRESH, True),
    "Boosted: with the past": (_WITH_PAST, True),
}
"""A model, and whether the tactic was there a first time."""


def world(seed: int, *, first: bool) -> tuple[Floats, Ints, Ints]:
    """Features of all events, their days and their tactics."""
    drifts = (FIRST, RETURN) if first else (RETURN,)
    traffic = Traffic(
        days=DAYS, per_day=PER_DAY, fraud_rate=FRAUD_RATE, seed=seed, drifts=drifts,
        customers=2000, terminals=4000,
    )  # fmt: skip
    columns = Simulation(traffic).columns(DAYS * PER_DAY * 2)
    transactions = Transactions(
        source="simulated",
        ident=columns["id"],
        time=columns["time"],
        customer=columns["customer"],
        terminal=columns["terminal"],
        cents=columns["amount"],
        fraud=columns["tactic"] != GENUINE,
    )
    day: Ints = (columns["time"] - traffic.begin) // DAY
    return featurize(operator(pipeline.features), Rows(transactions)), day, columns["tactic"]


def scores(model: Model, x: Floats, day: Ints, y: Labels) -> Floats:
    """What is said of each event by what was learnt until its day."""
    learner = model.bind(tuple(pipeline.features))
    edges = np.searchsorted(day, np.arange(DAYS + 1))
    out = np.zeros(len(x))
    judged = {start + offset for start in WEEKS.values() for offset in range(DELAY)}
    for today in range(DAYS):
        rows = slice(edges[today], edges[today + 1])
        if today in judged:
            out[rows] = learner.version().predict_many(x[rows])
        if today >= DELAY:
            rows = slice(edges[today - DELAY], edges[today - DELAY + 1])
            learner.learn_many(x[rows], y[rows], np.ones(rows.stop - rows.start))
    return out


def judged(model: Model, seed: int, *, first: bool) -> dict[str, float]:
    """Average precision in each of the weeks."""
    x, day, tactic = world(seed, first=first)
    score = scores(model, x, day, (tactic != GENUINE).astype(np.int8))
    new = tactic == TACTICS.index("vouchers")
    found = {}
    for week, start in WEEKS.items():
        rows = (day >= start) & (day < start + DELAY) & (new | (tactic == GENUINE))
        found[week] = average_precision(score[rows], new[rows])
    return found


def run() -> dict[str, Any]:
    """Average precision by model, memory and week; the mean over seeds."""
    results: dict[str, Any] = {}
    for name, (model, first) in PARTS.items():
        runs = [judged(model, seed, first=first) for seed in range(REPEATS)]
        results[name] = {week: statistics.fmean(run[week] for run in runs) for week in WEEKS}
        if not first:
            del results[name]["before it left"]
    return results


def table(results: dict[str, Any]) -> Table:
    """A line for each model and memory."""
    made = Table("", *WEEKS, title="average precision of a tactic that returns after two months")
    for name, weeks in results.items():
        made.add_row(name, *(f"{weeks[week]:.3f}" if week in weeks else "" for week in WEEKS))
    return made


if __name__ == "__main__":
    Console().print(table(run()))
