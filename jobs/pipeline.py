"""The flow, once, top to bottom: admit, features, score, join, evaluate, learn.

A `Pipeline` is what a user declares; a `Flow` is its state and the one method that carries a batch
through it. Hosts bring batches, take what comes out, and keep the state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.base import Model, Version
from models.baselines import AmountRule, Prior, Random
from operators.admission import COUNTS, Admission
from operators.evaluate import Prequential, WindowMetrics
from operators.features import Feature
from operators.featurize import Features
from operators.index import Index
from operators.labels import BY_LABEL, BY_MATURITY, CONFLICTING
from operators.lineup import Lineup
from operators.plan import compile_plan
from streams.batch import Batch
from streams.errors import DeadLetter, Reason
from streams.rows import MappedRows
from streams.schema import Event, duration_us

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
KEY_WORDS = 4
"""Words of a row of ids before the keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A declared slice: a feature whose value picks the name, 0 the first. Judged apart."""

    feature: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What a pipeline file defines as `pipeline`: an event, its features, the models that score it.

    `every`: examples between versions. `every_time`: event time between them, such as "1h"; none
    by default. `lateness`: how far events may be out of order and still be exact. `retention`: how
    long ids are remembered; by default the maturity and 7 days. `cap`: events a key's record holds
    before its oldest part is merged. `amount`: the input of the amount rule that is reported beside
    the models.
    """

    name: str
    event: Event
    features: Mapping[str, Feature]
    champion: Model
    challengers: Mapping[str, Model] = field(default_factory=dict)
    amount: str = ""
    slices: Mapping[str, Slice] = field(default_factory=dict)
    every: int = 2000
    every_time: str = "0s"
    lateness: str = "1h"
    retention: str = ""
    cap: int = 4096
    alert_budget: float = 0.01
    top_k: int = 100
    file: str = ""

    @property
    def models(self) -> dict[str, Model]:
        """Champion, challengers, then the baselines that are always reported."""
        rule: dict[str, Model] = {"amount": AmountRule(self.amount)} if self.amount else {}
        return {
            "champion": self.champion,
            **self.challengers,
            "prior": Prior(),
            **rule,
            "random": Random(),
        }

    @property
    def retention_us(self) -> int:
        """How long ids are remembered."""
        if self.retention:
            return duration_us(self.retention)
        return self.event.label.maturity_us + 7 * duration_us("1d")

    @property
    def definition(self) -> str:
        """A hash of everything the state depends on; the same definition reads the same state."""
        features = {name: repr(feature) for name, feature in self.features.items()}
        parts = (self.event, features, self.models, self.every, self.every_time, self.lateness)
        text = repr((*parts, self.retention_us, self.cap, self.slices, self.top_k))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Scored:
    """What came out of a batch: n predictions in the order of their events."""

    rows: Int64s
    """(n,) the batch's rows that were scored."""
    scores: Floats
    """(n, models) the champion first."""
    version: Int64s
    """(n,) the version that scored."""
    review: Bools
    """(n,) whether the decision is review."""
    late: Bools
    """(n,) whether the event came later than the lateness."""
    features: Floats
    """(n, features)."""
    letters: list[DeadLetter]
    windows: list[WindowMetrics]
    """Metric windows that closed."""
    champions: dict[int, Version]
    """The versions that scored, by number."""

    def __len__(self) -> int:
        return len(self.rows)


class Flow:
    """The state of a running pipeline. `folder` holds its logs of ids and of logged features."""

    def __init__(self, pipeline: Pipeline, folder: Path) -> None:
        event = pipeline.event
        self.pipeline = pipeline
        lateness_us = duration_us(pipeline.lateness)
        plan = compile_plan(event, pipeline.features, lateness_us=lateness_us, cap=pipeline.cap)
        self.names = plan.names
        self.features = Features(plan, event.keys)
        self.lineup = Lineup(
            pipeline.models,
            plan.names,
            every=pipeline.every,
            every_us=duration_us(pipeline.every_time),
        )
        self.ids = MappedRows(folder / "ids.rows", KEY_WORDS + 2 * len(event.keys))
        self.log = MappedRows(
            folder / "logged.rows", len(plan.names) + len(self.lineup.names), np.float64
        )
        self.index = Index(
            len(event.keys), event.label.maturity_us, pipeline.retention_us, lateness_us, self.ids
        )
        self.evaluation = Prequential(
            self.lineup.names,
            {name: each.values for name, each in pipeline.slices.items()},
            maturity_us=event.label.maturity_us,
            budget=pipeline.alert_budget,
            k=pipeline.top_k,
        )
        self._slices = [plan.names.index(each.feature) for each in pipeline.slices.values()]
        self.counts = np.zeros(len(COUNTS), np.int64)

    def process(self, batch: Batch) -> Scored:
        """Carry a batch through. Any cut of the same rows into batches gives the same bits."""
        pieces: list[tuple[Int64s, Floats, int, Bools, Floats, Bools]] = []
        letters: list[DeadLetter] = []
        windows: list[WindowMetrics] = []
        champions: dict[int, Version] = {}
        start = 0
        while start < len(batch):
            admission = self.index.admit(batch, start, self.lineup.room, self.lineup.due_us)
            stop = admission.stop
            rows = batch[start:stop]
            admitted = admission.row >= 0
            features = self._featurize(rows, admission, admitted)
            scores = self.lineup.score(features)
            self._log(admission.row[admitted], features, scores)
            here = np.flatnonzero(admitted)
            review = scores[:, 0] >= self.lineup.champion.threshold
            late = admission.late[here]
            champions[self.lineup.sequence] = self.lineup.champion
            pieces.append((start + here, scores, self.lineup.sequence, late, features, review))
            letters.extend(self._conflicts(rows, admission))
            windows.extend(self._learn(admission))
            self.counts += admission.counts
            clock = int(batch.time[stop]) if stop < len(batch) else self.index.clock_us
            self.lineup.advance(clock)
            start = stop
        return self._gather(pieces, letters, windows, champions)

    def _featurize(self, rows: Batch, admission: Admission, admitted: Bools) -> Floats:
        """Features (n, names) of the admitted events; labels reach both entities' windows."""
        lines = np.where(admitted, np.cumsum(admitted) - 1, -1)
        whole = self.features.update(
            rows,
            lines,
            admission.when,
            admission.keys,
            admission.event_ident,
            admission.known,
            admission.value,
            int(admitted.sum()),
        )
        if whole.shape[1] == len(self.names):
            return whole
        return np.ascontiguousarray(whole[:, : len(self.names)])

    def _log(self, at: Int64s, features: Floats, scores: Floats) -> None:
        """Keep what the scores were made from until their labels are known."""
        if len(at):
            self.log.reserve(int(at[-1]) + 1)
            self.log.view[at[0] : at[-1] + 1, : len(self.names)] = features
            self.log.view[at[0] : at[-1] + 1, len(self.names) :] = scores

    def _learn(self, admission: Admission) -> list[WindowMetrics]:
        """Judge, then learn, the examples whose labels have become known."""
        examples = admission.examples
        if not len(examples):
            return []
        logged = self.log.view[examples.row]
        x = np.ascontiguousarray(logged[:, : len(self.names)])
        ids = self.ids.view[examples.row]
        first = (examples.cause == BY_LABEL) | (examples.cause == BY_MATURITY)
        judged = slice(None) if first.all() else np.flatnonzero(first)
        windows = self.evaluation.observe(
            np.ascontiguousarray(ids[judged, 2]),
            examples.known_us[judged],
            np.ascontiguousarray(logged[judged, len(self.names) :]),
            examples.y[judged],
            np.ascontiguousarray(ids[judged, KEY_WORDS + 1]),
            x[judged][:, self._slices].astype(np.int64) if self._slices else None,
        )
        self.lineup.learn(x, examples.y, np.ascontiguousarray(ids[:, 1]))
        return windows

    def _conflicts(self, rows: Batch, admission: Admission) -> list[DeadLetter]:
        """A dead letter for each id that came again with other content."""
        return [
            DeadLetter(
                Reason.CONFLICTING_ID,
                f"id {rows.texts[0][row]} came before with other content",
                self.pipeline.event.name,
                int(rows.partition[row]),
                int(rows.offset[row]),
                int(rows.time[row]),
                b"",
            )
            for row in np.flatnonzero(admission.status == CONFLICTING).tolist()
        ]

    def _gather(
        self,
        pieces: list[Any],
        letters: list[DeadLetter],
        windows: list[WindowMetrics],
        champions: dict[int, Version],
    ) -> Scored:
        """One `Scored` from the stretches between version changes."""
        if not pieces:
            none = np.empty(0, np.int64)
            wide, deep = len(self.names), len(self.lineup.names)
            empty = np.empty(0, np.bool_)
            scores, features = np.empty((0, deep)), np.empty((0, wide))
            return Scored(none, scores, none, empty, empty, features, letters, windows, champions)
        rows, scores, versions, late, features, reviews = zip(*pieces, strict=True)
        return Scored(
            rows=np.concatenate(rows),
            scores=np.concatenate(scores),
            version=np.repeat(np.array(versions), [len(each) for each in rows]),
            review=np.concatenate(reviews),
            late=np.concatenate(late),
            features=np.concatenate(features),
            letters=letters,
            windows=windows,
            champions=champions,
        )
