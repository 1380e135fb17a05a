"""Whether the features that a run logged are what their definitions say: a sample, recomputed.

The run's input is read again. Which rows are events, which are duplicates, and which event a label
speaks of is decided by the index, as in the run; the features of the chosen keys are then computed
by `operators.reference`, from lists of events and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from jobs.definition import Pipeline
from jobs.intake import KEY_WORDS
from jobs.progress import Progress
from jobs.rerun import own_columns, predictions, rerun
from jobs.settings import Inputs
from operators import ring
from operators.admission import Admission
from operators.features import Feature
from operators.idtable import ArrayRows
from operators.index import FOREVER, Index
from operators.reference import Happened, History, Reference
from streams.batch import Batch
from streams.errors import InputError
from streams.ident import idents
from streams.schema import MISSING, duration_us

TOLERANCE = 1e-9
"""Relative: sums, counts and times are whole numbers, so only a last division may round apart."""
SEED = 0
Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Ident = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Compared:
    """One feature: n rows, how many differ, by how much at most, and the first that does."""

    name: str
    rows: int
    differences: int
    largest: float
    example: tuple[str, float, float] | None
    """Id, what was logged, what the definition gives."""


@dataclass(frozen=True, slots=True)
class Skew:
    """What a check found."""

    features: list[Compared]
    keys: dict[str, int]
    """How many keys of each entity were recomputed."""
    late: int
    """Rows not compared since they came later than the lateness: their keys may have forgotten."""
    merged: int
    """Rows of an entity not compared because their key had more events than its cap."""

    @property
    def differences(self) -> int:
        """Of all features together."""
        return sum(each.differences for each in self.features)


@dataclass(slots=True)
class _Entity:
    """The chosen keys of one entity and what happened to them."""

    number: int
    horizon_us: int
    retention_us: int
    cap: int
    histories: dict[Ident, History]
    merged_until: dict[Ident, int] = field(default_factory=dict)

    def chosen(self, keys: Int64s) -> npt.NDArray[np.bool_]:
        """Which rows of (m, K, 2) may be of a chosen key."""
        lows = np.fromiter((low for _, low in self.histories), np.int64, len(self.histories))
        return np.isin(keys[:, self.number, 1], lows)

    def insert(self, key: Ident, event: Happened) -> bool:
        """Add an event; False if its key's record holds merged events, so windows are rough."""
        history = self.histories[key]
        newest = max(event.time, history.events[-1].time if history.events else event.time)
        history.insert(event)
        kept = history.until(newest, 2**63, self.retention_us)
        if len(kept) > self.cap:
            self.merged_until[key] = newest + self.retention_us
        return event.time > self.merged_until.get(key, event.time - 1)


def check_skew(folder: Path, keys: int) -> Skew:
    """Recompute the features of so many keys of each entity, and compare with what was logged.

    Raises InputError if the run has not come to its end or its input is no longer what it was.
    """
    inputs = Inputs.load(folder)
    pipeline = inputs.load_pipeline()
    check = _Check(folder, pipeline, keys)
    with Progress("recomputing") as progress:
        rows = 0
        for batch, share in rerun(inputs, pipeline):
            check.take(batch)
            rows += len(batch)
            progress.show(rows, share)
    return check.result()


class _Check:
    """Goes through the input, keeps the chosen keys' events, and their features as defined."""

    def __init__(self, folder: Path, pipeline: Pipeline, keys: int) -> None:
        event, lateness = pipeline.event, duration_us(pipeline.lateness)
        plan = pipeline.plan()
        self._folder, self._pipeline = folder, pipeline
        self._reference = Reference(event)
        self._index = Index(
            len(event.keys),
            event.label.maturity_us,
            pipeline.retention_us,
            lateness,
            ArrayRows(KEY_WORDS + 2 * len(event.keys)),
        )
        self._entities = {
            each.key: _Entity(
                event.keys.index(each.key),
                int(each.ages[-1]),
                int(each.shape[ring.RETENTION]),
                pipeline.cap,
                {key: History() for key in _sample(folder, each.key, keys)},
            )
            for each in plan.entities
        }
        own = own_columns(pipeline)
        self._features = {
            name: feature
            for name, feature in pipeline.features.items()
            if name not in own or (feature.operation == "value" and feature.field == name)
        }
        self._rows: dict[str, list[int]] = {name: [] for name in self._features}
        self._values: dict[str, list[float]] = {name: [] for name in self._features}
        self._ids: dict[int, str] = {}
        self._late = self._merged = 0

    def take(self, batch: Batch) -> None:
        """Carry a batch through the index, and its chosen rows on."""
        start = 0
        while start < len(batch):
            admission = self._index.admit(batch, start, FOREVER)
            rows = batch[start : admission.stop]
            chosen = np.zeros(len(rows), np.bool_)
            for entity in self._entities.values():
                chosen |= entity.chosen(admission.keys)
            for row in np.flatnonzero(chosen).tolist():
                self._take_row(rows, admission, row)
            start = admission.stop

    def _take_row(self, batch: Batch, admission: Admission, row: int) -> None:
        time, ident = int(admission.when[row]), int(admission.event_ident[row])
        mine = {
            name: entity
            for name, entity in self._entities.items()
            if self._key(admission, row, entity) in entity.histories
        }
        if admission.row[row] >= 0:
            event = Happened(time, ident, self._fields(batch, row))
            past = {}
            for name, entity in mine.items():
                key = self._key(admission, row, entity)
                if entity.insert(key, event):
                    past[name] = entity.histories[key].until(time, ident, entity.horizon_us)
                else:
                    self._merged += 1
            if admission.late[row]:
                self._late += 1
            else:
                self._compute(int(admission.row[row]), str(batch.texts[0][row]), event, past)
        if admission.value[row] >= 0:
            for entity in mine.values():
                told = entity.histories[self._key(admission, row, entity)].find(time, ident)
                if told is not None:
                    told.tell(int(admission.known[row]), bool(admission.value[row]))

    def _key(self, admission: Admission, row: int, entity: _Entity) -> Ident:
        hi, lo = admission.keys[row, entity.number].tolist()
        return hi, lo

    def _fields(self, batch: Batch, row: int) -> dict[str, int | None]:
        event = self._pipeline.event
        names = [*event.keys, *(each.name for each in event.numbers)]
        names += [each.name for each in event.categories]
        held = [*batch.idents[row, 1:, 1].tolist(), *batch.numbers[row].tolist()]
        held += batch.categories[row].tolist()
        pairs = zip(names, held, strict=True)
        return {name: None if value == MISSING else value for name, value in pairs}

    def _compute(self, row: int, id: str, event: Happened, past: dict[str, list[Happened]]) -> None:
        self._ids[row] = id
        for name, feature in self._features.items():
            if _entities_of(feature) <= past.keys():
                self._rows[name].append(row)
                self._values[name].append(self._reference.value(feature, event, past))

    def result(self) -> Skew:
        """Compare with what the run logged."""
        rows = np.array(sorted(self._ids), np.int64)
        logged = predictions(self._folder, "id")["id"]
        if len(rows) and rows[-1] >= len(logged):
            self._refuse(f"{len(logged):,} predictions", f"{self._index.next_row:,} events")
        for row, was in zip(rows.tolist(), logged.take(pa.array(rows)).to_pylist(), strict=True):
            if was != self._ids[row]:
                self._refuse(f"{was!r} as event {row + 1:,}", repr(self._ids[row]))
        return Skew(
            features=[self._compare(name) for name in self._features],
            keys={name: len(each.histories) for name, each in self._entities.items()},
            late=self._late,
            merged=self._merged,
        )

    def _refuse(self, wanted: str, got: str) -> None:
        raise InputError(
            f"{self._folder}: the input has changed since the run: wanted {wanted}, got {got}; "
            "put the files back as they were, or replay them"
        )

    def _compare(self, name: str) -> Compared:
        rows = pa.array(self._rows[name], pa.int64())
        logged = predictions(self._folder, name)[name].take(rows)
        left = pc.fill_null(logged, np.nan).to_numpy()
        right = np.array(self._values[name])
        apart = np.where(np.isnan(left) & np.isnan(right), 0.0, np.abs(left - right))
        apart = np.where(np.isnan(apart), np.inf, apart)
        wrong = np.flatnonzero(apart > TOLERANCE * np.maximum(1.0, np.abs(right)))
        first = int(wrong[0]) if len(wrong) else -1
        example = (self._ids[self._rows[name][first]], float(left[first]), float(right[first]))
        return Compared(
            name=name,
            rows=len(rows),
            differences=len(wrong),
            largest=float(apart.max(initial=0.0)),
            example=example if len(wrong) else None,
        )


def _sample(folder: Path, entity: str, count: int) -> list[Ident]:
    """Keys of an entity drawn from those that were scored, the same ones every time."""
    texts = pc.unique(predictions(folder, entity)[entity]).sort()
    chosen = np.random.default_rng(SEED).permutation(len(texts))[:count]
    hashed: Any = idents(texts.take(pa.array(np.sort(chosen))))
    return [(hi, lo) for hi, lo in hashed.tolist()]


def _entities_of(feature: Feature) -> set[str]:
    """The entities whose events the feature reads."""
    own = {feature.entity} if feature.entity else set()
    return own.union(*(_entities_of(part) for part in feature.parts))


def skew_table(skew: Skew) -> Table:
    """What was found, feature by feature."""
    table = Table(title="logged against defined", title_justify="left")
    for name in ("feature", "rows compared", "differences", "largest difference"):
        table.add_column(name, justify="left" if name == "feature" else "right")
    for each in skew.features:
        counts = f"{each.rows:,}", f"{each.differences:,}", f"{each.largest:.3g}"
        table.add_row(each.name, *counts, style="red" if each.differences else None)
    return table


def skew_lines(skew: Skew) -> Iterator[str]:
    """The first difference of each feature that has one, and what was compared."""
    for each in skew.features:
        if each.example is not None:
            event, logged, defined = each.example
            said = f"logged as {logged!r}, by its definition {defined!r}"
            yield f"{each.name} of event {event}: {said}"
    keys = ", ".join(f"{count:,} of {name}" for name, count in skew.keys.items())
    yield (
        f"keys: {keys}; not compared: {skew.late:,} rows that came later than the lateness, "
        f"{skew.merged:,} of keys over their cap"
    )
