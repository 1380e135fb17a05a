"""The scoring half of the flow: admit, features, score; and what became known, for the learner.

    scored, told = scoring.process(batch)

The index that gives labels their keys also joins them with the predictions they speak of: once,
here, in the order in which events are processed. The learner is told which predictions got which
label, by their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from jobs.definition import Pipeline
from jobs.intake import Intake
from jobs.numbering import Numbering
from jobs.pipeline import Scored
from models.base import Version
from operators.admission import Admission, Examples
from operators.labels import CONFLICTING
from streams.batch import Batch
from streams.records import Outcomes, quiet

Int64s = npt.NDArray[np.int64]
_EXAMPLES = 64
"""Outcomes told at a time, beside two a row: when time leaps, more than that become known."""
MOST_TOLD = 20_000
"""Outcomes in one record: well below the megabyte that a topic takes by default."""


@dataclass(frozen=True, slots=True)
class Told:
    """`streams.records.Outcomes` before they are written: n examples, and what is said of all."""

    before: int
    clock: int
    numbers: Int64s
    """(n,) the predictions' numbers."""
    examples: Examples
    about: dict[str, Any]
    """The rest of the fields."""

    def record(self) -> bytes:
        """The outcomes as JSON, without an object for each."""
        own = {
            "before": self.before,
            "clock": self.clock,
            "numbers": self.numbers,
            "values": self.examples.y,
            "known": self.examples.known_us,
            "causes": self.examples.cause,
        } | self.about
        fields = {name: own[name] for name in Outcomes.__struct_fields__}
        return orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)


class Scoring(Intake):
    """Index, windows and the version that scores; `told` is how far the learner was told of.

    `outcomes` counts what it was told.
    Any cut of the same rows into batches gives the same features and the same outcomes in the same
    order, and with the same versions the same scores.
    """

    def __init__(self, pipeline: Pipeline, folder: Path) -> None:
        super().__init__(pipeline, folder)
        self.version: Version = pipeline.champion.bind(self.names).version()
        self.sequence = 0
        self.numbering = Numbering.of_folder(folder)
        self.told = 0
        self.outcomes = 0

    def serve(self, sequence: int, version: Version) -> None:
        """Score with this version from the next batch on."""
        self.sequence, self.version = sequence, version

    def process(self, batch: Batch) -> tuple[Scored, list[Told]]:
        """Carry a batch through. Dead letters have the input's place as partition, no topic."""
        parts: list[Scored] = []
        told: list[Told] = []
        start, budget = 0, min(_EXAMPLES + 2 * len(batch), MOST_TOLD)
        while start < len(batch):
            before_us = self.index.clock_us
            admission = self.index.admit(batch, start, budget)
            whole = start == 0 and admission.stop == len(batch)
            rows = batch if whole else batch[start : admission.stop]
            parts.append(self._carry(rows, admission, start))
            start = admission.stop
            untold = self.index.next_row - self.told
            if len(admission.examples) or not quiet(untold, before_us, self.index.clock_us):
                told.append(self._tell(admission.examples, more=start < len(batch)))
                self.told = self.index.next_row
        return (parts[0] if len(parts) == 1 else self._joined(parts)), told

    def _carry(self, rows: Batch, admission: Admission, start: int) -> Scored:
        (here,) = (admission.row >= 0).nonzero()
        features = self.featurize(rows, admission, here)
        scores = self.version.predict_many(features)
        self.counts += admission.counts
        return Scored(
            rows=here + start,
            number=self.numbering.of(admission.row[here]),
            scores=scores[:, None],
            intervals=self.version.intervals_many(scores),
            version=np.full(len(here), self.sequence),
            review=scores >= self.version.threshold,
            late=admission.late[here],
            features=features,
            letters=self.conflicts(rows, admission) if admission.counts[CONFLICTING] else [],
            windows=[],
            champions={self.sequence: self.version},
        )

    def _tell(self, examples: Examples, *, more: bool) -> Told:
        before = self.outcomes
        self.outcomes += len(examples)
        return Told(
            before,
            self.index.clock_us,
            self.numbering.of(examples.row),
            examples,
            self.numbering.about(self.index.next_row, self.index.first_row) | {"more": more},
        )

    def _joined(self, parts: list[Scored]) -> Scored:
        """One `Scored` of several parts, or of none."""
        none = np.empty(0, np.int64)
        no = np.empty(0, np.bool_)
        empty: dict[str, npt.NDArray[Any]] = {
            "rows": none,
            "number": none,
            "scores": np.empty((0, 1)),
            "intervals": np.empty((0, 2)),
            "version": none,
            "review": no,
            "late": no,
            "features": np.empty((0, len(self.names))),
        }
        return Scored(
            **{
                name: np.concatenate([nothing, *(getattr(part, name) for part in parts)])
                for name, nothing in empty.items()
            },
            letters=[letter for part in parts for letter in part.letters],
            windows=[],
            champions={self.sequence: self.version},
        )
