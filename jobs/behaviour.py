"""Whether a version of a model behaves as its pipeline expects, on events as they were logged.

Of each event the inputs are changed as the expectation says, and both are scored by the version.
How far a score has moved is measured in log-odds, so that it means the same for the likely and the
unlikely.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jobs.definition import Pipeline
from jobs.expectation import Expectation, Floats
from jobs.labelled import Logged, logged
from jobs.promotion.places import Place
from models.base import Version
from models.decisions import CHAMPION
from streams.errors import ConfigError, StateError

SHOWN = 3
"""Examples of what went wrong, the worst first."""


@dataclass(frozen=True, slots=True)
class Example:
    """An event whose score moved as it must not."""

    id: str
    before: float
    after: float
    inputs: dict[str, tuple[float, float]]
    """What was changed: from, to."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a version answers to one change."""

    name: str
    expectation: Expectation
    events: int
    """Those that the change changes."""
    kept: int
    """Of these, how many moved no further than they may."""
    mean: float
    """Move of the log-odds on average."""
    problems: tuple[str, ...]
    """In words; none where it behaves."""
    examples: tuple[Example, ...]
    """The worst of those that did not keep to it."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What was expected of a version, and what it does."""

    where: str
    """Where the events are from."""
    model: str
    version: int
    verdicts: tuple[Verdict, ...]
    others: tuple[str, ...]
    """What is expected of other models."""

    @property
    def failed(self) -> list[Verdict]:
        """What it does not do."""
        return [each for each in self.verdicts if each.problems]


def tried(
    pipeline: Pipeline, place: Place, wanted: str | None, path: Path, events: int
) -> Behaviour:
    """Try what the pipeline expects on so many events of `path`, by a version that `place` has.

    By default the one that scores. Raises ConfigError where nothing is expected or there is no such
    version, InputError where there are no events, StateError for a version of other inputs.
    """
    if not pipeline.behaviour:
        raise ConfigError(
            f"pipeline {pipeline.name}: wanted behaviour to try, got none: declare it with "
            "`Pipeline(..., behaviour={...})` (docs/behaviour.md)"
        )
    for name, each in pipeline.behaviour.items():
        each.check(name, pipeline.plan().names, pipeline.contenders)
    catalogue = place.read()
    manifest = catalogue.find(wanted or str(catalogue.in_force or CHAMPION))
    version, found = place.load(manifest.sequence), logged(path, pipeline, events)
    if version.names != found.names:
        raise StateError(
            f"version {manifest.sequence}: takes {len(version.names)} inputs, the pipeline makes "
            f"{len(found.names)} or others: it is of another pipeline; name one of this"
        )
    return check_behaviour(pipeline.behaviour, version, manifest.name, manifest.sequence, found)


def check_behaviour(
    expected: Mapping[str, Expectation], version: Version, model: str, number: int, logged: Logged
) -> Behaviour:
    """Try what is expected of this model on every event.

    Raises ConfigError where a change gives something else than a value for each event.
    """
    mine = {name: each for name, each in expected.items() if not each.of or model in each.of}
    before = version.predict_many(logged.x)
    verdicts = (_tried(name, each, version, logged, before) for name, each in mine.items())
    others = tuple(name for name in expected if name not in mine)
    return Behaviour(logged.where, model, number, tuple(verdicts), others)


def _tried(
    name: str, expected: Expectation, version: Version, logged: Logged, before: Floats
) -> Verdict:
    x, columns = logged.x, {each: logged.names.index(each) for each in expected.change}
    other = x.copy()
    for each, column in columns.items():
        other[:, column] = _values(name, each, expected.change[each](x[:, column]), len(x))
    chosen = ((other != x) & ~(np.isnan(other) & np.isnan(x))).any(axis=1)
    for each, where in expected.where.items():
        picked = _values(name, each, where(x[:, logged.names.index(each)]), len(x))
        chosen &= picked.astype(bool)
    rows = np.flatnonzero(chosen)
    after = version.predict_many(np.ascontiguousarray(other[rows]))
    moved = log_odds(after) - log_odds(before[rows])
    beyond = np.maximum(expected.low - moved, moved - expected.high)
    worst = np.argsort(-beyond, kind="stable")[:SHOWN]
    kept = int(np.count_nonzero(beyond <= 0))
    mean = float(moved.mean()) if len(rows) else 0.0
    return Verdict(
        name=name,
        expectation=expected,
        events=len(rows),
        kept=kept,
        mean=mean,
        problems=tuple(_problems(expected, len(rows), kept, mean)),
        examples=tuple(
            Example(
                logged.ids[rows[at]],
                float(before[rows[at]]),
                float(after[at]),
                {n: (float(x[rows[at], c]), float(other[rows[at], c])) for n, c in columns.items()},
            )
            for at in worst.tolist()
            if beyond[at] > 0
        ),
    )


def _problems(expected: Expectation, events: int, kept: int, mean: float) -> list[str]:
    if not events:
        return ["no event is changed by it, so nothing was tried"]
    found = []
    if kept < expected.share * events:
        found.append(f"{events - kept:,} of {events:,} events move further")
    if expected.mean * mean < 0 or (expected.mean and not mean):
        way = "rise" if expected.mean > 0 else "fall"
        found.append(f"the log-odds move by {mean:+.4f} on average, and must {way}")
    return found


def _values(name: str, column: str, values: object, count: int) -> Floats:
    try:
        found = np.broadcast_to(np.asarray(values, np.float64), (count,))
    except (TypeError, ValueError):
        raise ConfigError(
            f"behaviour {name!r}: wanted of {column} a number for each of {count} events, got "
            f"{type(values).__name__} {getattr(values, 'shape', '')}"
        ) from None
    return found


def log_odds(score: Floats) -> Floats:
    """Log-odds of probabilities."""
    return np.asarray(np.log(score) - np.log1p(-score))
