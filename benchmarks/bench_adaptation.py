"""Average precision through changes of the world: responses off and on, beside others who learn.

Run as `python -m benchmarks.run --only adaptation`, or some of its parts by `--parts`: a stream and
who learns from it, as "Mixed: Forest renewed".

Each stream has a change in its middle (`benchmarks.adapting`). In simulated traffic a label comes
days later, as in life; of River's drifting streams it comes before the next event. All are told the
same examples at the same moments and score each event by what they had been told, ours by versions
of every tenth example (of payments every hundredth). `Linear` is the champion of the worked
pipeline there and one with automatic edges here, `Forest` has its defaults, as have both members of
the ensemble `Forest and neighbours`. Where it is responding
there is a challenger declared as the champion is, in which what came since is learnt anew when a
change of concept is told; where renewed, it is in a `models.renewed`; all else is the same. Beside
them stand LightGBM, trained anew every week (of a stream of River's: every twentieth part of it) on
the last eight, and River's adaptive random forest of 10 trees.

What is lost is what a LightGBM that learns nothing since the change has less after it than the
contender had before it; it is back in the first window in which nine tenths are. That is counted in
labels: how many were known, of events since the change, in the middle of that window.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.adapting import (
    AT,
    TRIAL,
    Course,
    Lessons,
    Stream,
    adaptive_forest,
    boosted_weekly,
    course,
    ours,
    points,
    traffic,
)
from models.base import Floats, Model
from models.ensemble import Ensemble
from models.forest import Forest
from models.neighbours import Neighbours
from models.renewed import Renewed
from operators.drift.responses import On, Start
from streams.simulation.traffic import (
    ConceptShift,
    NewTactic,
    PopulationShift,
    PriorShift,
    SlowAttack,
)

REPEATS = 2
MORE = 4
"""So many times as many of streams whose labels come at once."""
DRAWN = 60
"""Windows of a curve that are kept, at most."""
BACK, WORTH = 0.9, 0.05
"""How much of what is lost is to come back, and how much must be lost for that to be asked."""


def own(lessons: Lessons) -> Model:
    """The champion there."""
    return lessons.stream.pipeline.champion


both = Ensemble(members={"forest": Forest(), "neighbours": Neighbours()}, every=20)
RESPONSES = (On(("concept", "performance", "calibration"), Start(TRIAL)),)
CONTENDERS: dict[str, Callable[[Lessons], Floats]] = {
    "Linear": lambda lessons: ours(lessons)[0],
    "Linear responding": lambda lessons: ours(lessons, responses=RESPONSES)[0],
    "Linear renewed": lambda lessons: ours(lessons, Renewed(model=own(lessons)))[0],
    "Forest": lambda lessons: ours(lessons, Forest())[0],
    "Forest responding": lambda lessons: ours(lessons, Forest(), RESPONSES)[0],
    "Forest renewed": lambda lessons: ours(lessons, Renewed(model=Forest()))[0],
    "Forest and neighbours": lambda lessons: ours(lessons, both)[0],
    "Forest and neighbours responding": lambda lessons: ours(lessons, both, RESPONSES)[0],
    "Forest and neighbours renewed": lambda lessons: ours(lessons, Renewed(model=both))[0],
    "LightGBM weekly": boosted_weekly,
    "River ARF": adaptive_forest,
}


def rivers(name: str, before: int, after: int) -> Callable[[int], Stream]:
    """A stream of River's that becomes another of its variants."""

    def made(seed: int) -> Stream:
        from river.datasets import synth

        kind = getattr(synth, name)
        return points(iter(kind(before, seed=seed)), iter(kind(after, seed=seed + 100)))

    return made


def gradually(name: str, before: int, after: int, width: int) -> Callable[[int], Stream]:
    """One that is ever more often the other variant, by the middle of some points half the time."""

    def made(seed: int) -> Stream:
        from river.datasets import synth

        kind = getattr(synth, name)
        drifting = synth.ConceptDriftStream(
            kind(before, seed=seed + 100), kind(after, seed=seed + 200), width, width, seed
        )
        return points(iter(kind(before, seed=seed)), iter(drifting))

    return made


def turning(seed: int) -> Stream:
    """A plane between classes that turns a little at every point, then one that lies otherwise."""
    from river.datasets import synth

    def plane(seed: int) -> synth.Hyperplane:
        return synth.Hyperplane(seed, n_features=5, n_drift_features=3, mag_change=0.001)

    return points(iter(plane(seed)), iter(plane(seed + 100)))


STREAMS: dict[str, Callable[[int], Stream]] = {
    "concept": partial(traffic, (ConceptShift(AT, size=0.9),)),
    "gradual concept": partial(traffic, (ConceptShift(AT, size=0.9, shape="gradual"),)),
    "recurring concept": partial(traffic, (ConceptShift(AT, size=0.9, shape="recurring"),)),
    "tactic": partial(traffic, (NewTactic(AT, size=0.8),)),
    "attacker": partial(traffic, (SlowAttack(AT, size=2.0, shape="sudden"),)),
    "prior": partial(traffic, (PriorShift(AT, size=3.0),)),
    "population": partial(traffic, (PopulationShift(AT, size=0.7),)),
    "nothing": partial(traffic, ()),
    "Mixed": rivers("Mixed", 0, 1),
    "gradual Mixed": gradually("Mixed", 0, 1, 250),
    "Sine": rivers("Sine", 0, 3),
    "Sine by another curve": rivers("Sine", 0, 2),
    "STAGGER": rivers("STAGGER", 0, 2),
    "Agrawal": rivers("Agrawal", 0, 4),
    "SEA": rivers("SEA", 0, 3),
    "Hyperplane": turning,
}
LATE = [*STREAMS][:8]
"""Those of payments, whose labels come days later."""


def back(courses: list[Course]) -> dict[str, Any]:
    """Means over seeds: what was there, what was lost, after how many labels it was back."""
    length = min(len(each.curve) for each in courses)
    before = float(np.mean([each.before for each in courses]))
    fallen = float(np.mean([each.fallen for each in courses]))
    curve = np.mean([each.curve[:length] for each in courses], axis=0)
    labels = np.mean([each.labels[:length] for each in courses], axis=0)
    there = np.flatnonzero(curve >= before - (1 - BACK) * (before - fallen))
    after = float(labels[there[0]]) if len(there) else None
    return {
        "before": before,
        "fallen": fallen,
        "mean after": float(curve.mean()),
        "labels until back": after if before - fallen > WORTH else 0.0,
        "curve": curve[:: 1 + len(curve) // DRAWN].round(3).tolist(),
    }


@cache
def lessons(name: str) -> list[Lessons]:
    """A stream by each seed."""
    seeds = REPEATS * (1 if name in LATE else MORE)
    return [Lessons.of(STREAMS[name](seed)) for seed in range(seeds)]


def through(name: str, who: str) -> dict[str, Any]:
    """A contender through a stream."""
    return back([course(CONTENDERS[who](each), each) for each in lessons(name)])


PARTS = {f"{name}: {who}": partial(through, name, who) for name in STREAMS for who in CONTENDERS}


def run() -> dict[str, Any]:
    """By stream and contender."""
    return {name: part() for name, part in PARTS.items()}


def table(results: dict[str, Any]) -> Table:
    """A line for each stream and contender."""
    made = Table("stream", "", title=f"average precision; labels until {BACK:.0%} is back")
    for column in ("before", "fallen", "mean after", "labels", "of ARF's"):
        made.add_column(column, justify="right")
    for part, row in results.items():
        name, who = part.split(": ")
        theirs = results.get(f"{name}: River ARF", {}).get("labels until back")
        mine = row["labels until back"]
        share = f"{mine / theirs:.2f}" if mine and theirs else ""
        said = "never" if mine is None else f"{mine:,.0f}" if mine else "little lost"
        figures = (f"{row[key]:.3f}" for key in ("before", "fallen", "mean after"))
        made.add_row(name, who, *figures, said, share)
    return made
