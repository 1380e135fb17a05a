"""Streams that change in their middle, and who learns from them, for `bench_adaptation`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.definition import Pipeline
from jobs.fraud import champion, pipeline
from jobs.pipeline import Flow
from jobs.scoring import Scoring
from models.base import Floats, Labels, Model
from models.linear import Linear
from operators.drift.response import Told
from operators.drift.responses import Declared
from operators.drift.watch import Watch
from operators.features import value
from operators.metrics import average_precision
from streams.batch import EVENT, LABEL, UNKNOWN, Batch
from streams.schema import DAY, Event, Label, Number
from streams.simulation.population import GENUINE
from streams.simulation.simulator import Simulation
from streams.simulation.traffic import Drift, Traffic

Ints = npt.NDArray[np.int64]
TRAFFIC = Traffic(days=56, per_day=300, fraud_rate=0.1, customers=1200, terminals=2400)
"""Genuine payments are few for their frauds, who are as many as of 4,300 a day: so all can learn
them."""
AT, BEFORE = "2024-01-29", 28
POINTS, CHANGED, APART = 5_500, 4_000, 360_000_000
"""Points of a stream of River's, those before it changes, and the time from one to the next."""
ROWS = 500
TREES = 10
MISSING = -1.0
"""What stands for a missing value where River learns, whose trees take none."""
TRIAL = "trial"
"""The challenger in which a response tries another model."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream with a change at `changed_us`, judged by windows of `window_us`."""

    pipeline: Pipeline
    batches: Callable[[], Iterator[Batch]]
    truth: Callable[[], Labels]
    """Labels by id."""
    changed_us: int
    window_us: int
    step_us: int
    before_us: int
    """How long before the change the average precision is what is to come back."""
    retrain_us: int


def traffic(drifts: tuple[Drift, ...], seed: int) -> Stream:
    """Simulated payments, of which labels come late."""
    given = replace(TRAFFIC, drifts=drifts, seed=seed)

    def truth() -> Labels:
        columns = Simulation(given).columns(10_000_000)
        labels = np.zeros(int(columns["id"].max()) + 1, np.int8)
        labels[columns["id"]] = columns["tactic"] != GENUINE
        return labels

    return Stream(
        pipeline=replace(pipeline, champion=champion, challengers={}, amount="", every=100),
        batches=lambda: (batch for batch, _ in Simulation(given, batch_size=ROWS)),
        truth=truth,
        changed_us=given.begin + BEFORE * DAY,
        window_us=5 * DAY,
        step_us=DAY,
        before_us=14 * DAY,
        retrain_us=7 * DAY,
    )


Points = Iterator[tuple[dict[str, Any], Any]]


def points(before: Points, after: Points) -> Stream:
    """Two of River's streams one after the other; each point's label comes before the next."""
    given = [*islice(before, CHANGED), *islice(after, POINTS - CHANGED)]
    names = tuple(f"{name}" for name in given[0][0])
    x = np.array([[round(float(v) * 1000) for v in row.values()] for row, _ in given], np.int64)
    y = np.array([bool(label) for _, label in given]).astype(np.int8)
    start = TRAFFIC.begin
    time = np.repeat(start + np.arange(POINTS) * APART, 2)
    time[1::2] += 1
    is_label = np.arange(2 * POINTS) % 2 == 1
    idents = np.zeros((2 * POINTS, 1, 2), np.int64)
    idents[:, 0, 1] = np.repeat(np.arange(POINTS), 2)
    rows = Batch(
        kind=np.where(is_label, LABEL, EVENT).astype(np.uint8),
        time=time,
        idents=idents,
        numbers=np.repeat(x, 2, axis=0),
        categories=np.empty((2 * POINTS, 0), np.int64),
        label=np.where(is_label, np.repeat(y, 2), UNKNOWN).astype(np.int8),
        received=time,
        partition=np.zeros(2 * POINTS, np.int32),
        offset=np.arange(2 * POINTS),
        texts=(pa.array(idents[:, 0, 1]),),
    )
    numbers = tuple(Number(name, scale=3, minimum=-1e6, maximum=1e6) for name in names)
    return Stream(
        pipeline=Pipeline(
            name="points",
            event=Event("point", keys=(), numbers=numbers, label=Label("y", maturity="1d")),
            features={name: value(name) for name in names},
            champion=Linear(),
            every=10,
            watch=replace(pipeline.watch or Watch(), act="1h"),
        ),
        batches=lambda: (rows[at : at + 100] for at in range(0, len(rows), 100)),
        truth=lambda: y,
        changed_us=start + CHANGED * APART,
        window_us=50 * APART,
        step_us=10 * APART,
        before_us=1000 * APART,
        retrain_us=POINTS // 20 * APART,
    )


@dataclass(frozen=True, slots=True)
class Lessons:
    """A stream as everybody who learns is told it: events, and examples between them."""

    stream: Stream
    time: Ints
    x: Floats
    y: Labels
    """The truth about each event."""
    numbers: Ints
    """Whose label each example is."""
    labels: Labels
    after: Ints
    """How many events came before each example."""

    @classmethod
    def of(cls, stream: Stream) -> Lessons:
        """Those that the score job would tell."""
        truth, count = stream.truth(), 0
        events: list[tuple[Ints, Floats, Ints]] = []
        told: list[tuple[Ints, Labels, Ints]] = []
        with tempfile.TemporaryDirectory() as folder:
            scoring = Scoring(stream.pipeline, Path(folder))
            for batch in stream.batches():
                scored, outcomes = scoring.process(batch)
                ids = batch.idents[scored.rows, 0, 1]
                events.append((batch.time[scored.rows], scored.features, ids))
                for each in outcomes:
                    # Of a batch that was taken in parts, places are of the part: all come first.
                    whole = len(outcomes) == 1
                    here = np.searchsorted(scored.rows, each.examples.after) if whole else len(ids)
                    after = np.full(len(each.examples.y), count) + here
                    told.append((np.asarray(each.numbers), each.examples.y, after))
                count += len(ids)
        time, x, ids = (np.concatenate(column) for column in zip(*events, strict=True))
        numbers, labels, after = (np.concatenate(column) for column in zip(*told, strict=True))
        return cls(stream, time, x, truth[ids], numbers.astype(np.int64), labels, after)

    def turns(self) -> Iterator[tuple[slice, slice]]:
        """Events, and the examples that come after them."""
        done = learnt = 0
        for stop in np.unique(np.append(self.after, len(self.x))).tolist():
            known = int(np.searchsorted(self.after, stop, side="right"))
            yield slice(done, stop), slice(learnt, known)
            done, learnt = stop, known

    def matured(self, at_us: int) -> int:
        """How many labels of events since the change are known when events of a time begin."""
        first = int(np.searchsorted(self.time, at_us))
        known = self.numbers[: int(np.searchsorted(self.after, first, side="right"))]
        return int((self.time[known] >= self.stream.changed_us).sum())


def ours(
    lessons: Lessons, model: Model | None = None, responses: tuple[Declared, ...] = ()
) -> tuple[Floats, list[Told]]:
    """Scores of a flow with this champion, its alarms and what was done about them."""
    stream = lessons.stream
    own = model or stream.pipeline.champion
    given = replace(
        stream.pipeline,
        champion=own,
        challengers={TRIAL: own} if responses else {},
        responses=responses,
    )
    scores: list[Floats] = []
    told: list[Told] = []
    with tempfile.TemporaryDirectory() as folder:
        flow = Flow(given, Path(folder))
        for batch in stream.batches():
            scored = flow.process(batch)
            scores.append(scored.scores[:, 0])
            told += scored.drift
    return np.concatenate(scores), told


def adaptive_forest(lessons: Lessons) -> Floats:
    """Scores of River's adaptive random forest."""
    from river import forest

    model, scores = forest.ARFClassifier(n_models=TREES, seed=1), np.empty(len(lessons.x))
    names = tuple(lessons.stream.pipeline.features)
    known = np.where(np.isnan(lessons.x), MISSING, lessons.x)
    rows = [dict(zip(names, row, strict=True)) for row in known.tolist()]
    for events, examples in lessons.turns():
        for at in range(events.start, events.stop):
            scores[at] = model.predict_proba_one(rows[at]).get(True, 0.0)
        labels = lessons.labels[examples].astype(bool).tolist()
        for number, label in zip(lessons.numbers[examples].tolist(), labels, strict=True):
            model.learn_one(rows[number], label)
    return scores


def boosted_weekly(lessons: Lessons) -> Floats:
    """Scores of LightGBM, made anew at intervals of what has come in the last eight of them."""
    import lightgbm

    scores, trees = np.full(len(lessons.x), 0.5), None
    every = lessons.stream.retrain_us
    due = int(lessons.time[0]) + every
    for events, examples in lessons.turns():
        now = int(lessons.time[events][0]) if events.stop > events.start else due - 1
        if now >= due:
            known = slice(0, examples.start)
            numbers, labels = lessons.numbers[known], lessons.labels[known]
            recent = lessons.time[numbers] >= now - 8 * every
            trees = lightgbm.LGBMClassifier(n_jobs=1, verbose=-1, random_state=0)
            trees.fit(lessons.x[numbers[recent]], labels[recent])
            due += every
        if trees is not None and events.stop > events.start:
            scores[events] = trees.predict_proba(lessons.x[events])[:, 1]
    return scores


def frozen(lessons: Lessons) -> float:
    """Average precision after the change of a LightGBM that learns nothing from then on."""
    import lightgbm

    changed = int(np.searchsorted(lessons.time, lessons.stream.changed_us))
    known = slice(0, int(np.searchsorted(lessons.after, changed, side="right")))
    trees = lightgbm.LGBMClassifier(n_jobs=1, verbose=-1, random_state=0)
    trees.fit(lessons.x[lessons.numbers[known]], lessons.labels[known])
    scores = trees.predict_proba(lessons.x[changed:])[:, 1]
    return average_precision(np.ascontiguousarray(scores), lessons.y[changed:])


@dataclass(frozen=True, slots=True)
class Course:
    """Average precision before the change and, window by window, after it."""

    before: float
    fallen: float
    """What it is after it for who learns nothing more."""
    curve: Floats
    labels: Ints
    """Labels known of events since the change, in the middle of each window."""


def course(scores: Floats, lessons: Lessons) -> Course:
    """How well scores rank, over time."""
    stream, time = lessons.stream, lessons.time

    def judged(start: int, stop: int) -> float:
        rows = slice(*np.searchsorted(time, [start, stop]).tolist())
        return average_precision(np.ascontiguousarray(scores[rows]), lessons.y[rows])

    last = int(time[-1]) - stream.window_us
    starts = range(stream.changed_us, last, stream.step_us)
    return Course(
        judged(stream.changed_us - stream.before_us, stream.changed_us),
        frozen(lessons),
        np.array([judged(start, start + stream.window_us) for start in starts]),
        np.array([lessons.matured(start + stream.window_us // 2) for start in starts]),
    )
