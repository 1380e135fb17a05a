"""The end of the flow: features that need no windows, the score, and the records of both."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from jobs.definition import Pipeline
from jobs.lanes.rows import Admitted
from jobs.topic_records import REASONS
from models.base import Version
from operators.featurize import derived_features, event_features
from streams.batch import as_text
from streams.predictions import encode_predictions
from streams.texts import payloads_of

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class Scorer:
    """Scores rows whose windows are made, by the version in force; at first by the prior.

    `told` hears of each batch: scores, whether to review, whether late, and (n, features).
    """

    def __init__(
        self,
        pipeline: Pipeline,
        told: Callable[[Floats, Bools, Bools, Floats], None] = lambda *_: None,
    ) -> None:
        self._told = told
        self._plan = pipeline.plan()
        self.names, self.inputs = self._plan.names, pipeline.inputs
        self.version: Version = pipeline.champion.bind(self.names).version()
        self.sequence = 0

    def serve(self, sequence: int, version: Version) -> None:
        """Score with this version from now on."""
        self.sequence, self.version = sequence, version

    def take(self, rows: Admitted) -> tuple[list[bytes], list[bytes]]:
        """Keys and values of the predictions of the events among these rows."""
        here = np.flatnonzero(rows.number >= 0)
        if not len(here):
            return [], []
        events = rows if len(here) == len(rows) else rows.take(here)
        plan, features = self._plan, events.features
        event_features(
            plan.event_ops, plan.units, np.arange(len(events)), events.when, events.numbers,
            events.categories, features,
        )  # fmt: skip
        if len(plan.derived_ops):
            derived_features(plan.derived_ops, features)
        x = np.ascontiguousarray(features[:, : len(self.names)])
        scores = self.version.predict_many(x)
        review = scores >= self.version.threshold
        self._told(scores, review, events.late, x)
        ids = as_text(events.texts[0])
        values = encode_predictions(
            ids,
            events.when,
            scores,
            self.version.intervals_many(scores),
            review,
            self.version.reasons_many(x, REASONS),
            self.names,
            np.full(len(events), self.sequence),
            x,
            events.number,
            self.inputs,
        )
        keys = as_text(events.texts[1]) if len(events.texts) > 1 else ids
        return payloads_of(keys).full(), values.full()
