"""The first half of the flow: events and labels are admitted, and features made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from jobs.definition import Pipeline
from operators.admission import COUNTS, Admission
from operators.featurize import Features
from operators.index import Index
from operators.labels import CONFLICTING
from streams.batch import Batch
from streams.errors import DeadLetter, Reason
from streams.rows import MappedRows
from streams.schema import duration_us

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
KEY_WORDS = 4
"""Words of a row of ids before the keys."""


class Intake:
    """Index and windows of a pipeline; `folder` holds the log of ids."""

    def __init__(self, pipeline: Pipeline, folder: Path) -> None:
        event = pipeline.event
        self.pipeline = pipeline
        plan = pipeline.plan()
        self.names, self.inputs = plan.names, pipeline.inputs
        self.features = Features(plan, event.keys)
        self.ids = MappedRows(folder / "ids.rows", KEY_WORDS + 2 * len(event.keys))
        self.index = Index(
            len(event.keys),
            event.label.maturity_us,
            pipeline.retention_us,
            duration_us(pipeline.lateness),
            self.ids,
        )
        self.counts = np.zeros(len(COUNTS), np.int64)

    def featurize(self, rows: Batch, admission: Admission, here: Int64s) -> Floats:
        """Features (n, names) of the admitted events; labels reach both entities' windows."""
        lines = np.full(len(rows), -1)
        lines[here] = np.arange(len(here))
        whole = self.features.update(
            rows,
            lines,
            admission.when,
            admission.keys,
            admission.event_ident,
            admission.known,
            admission.value,
            len(here),
        )
        if whole.shape[1] == len(self.names):
            return whole
        return np.ascontiguousarray(whole[:, : len(self.names)])

    def close(self) -> None:
        """Let go of the log of ids."""
        self.ids.close()

    def sizes(self) -> dict[str, int]:
        """Bytes of each entity's records in memory, and of the log of ids on disk."""
        records = {each.plan.key: each.arena.nbytes for each in self.features.entities}
        rows = self.index.next_row - self.index.first_row
        return records | {"ids_on_disk": rows * self.ids.view.strides[0]}

    def conflicts(self, rows: Batch, admission: Admission) -> list[DeadLetter]:
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
