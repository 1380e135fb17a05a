"""What a learner holds of predictions, lane by lane, and what it learns of them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

from operators.drift.patience import NEVER
from operators.drift.response import Told
from operators.evaluate import WindowMetrics
from operators.lineup import Made
from streams.records import Outcomes

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
IDENT, TIME, CARD, MODEL = range(4)
"""Words of a held prediction: the low words of its id and of its first key, time and version."""
FOREIGN = -1
"""The version of one that was made of other features: nothing is learnt from it."""


@dataclass(frozen=True, slots=True)
class Held:
    """n predictions as columns."""

    number: Int64s
    words: Int64s
    """(n, 4) as IDENT to MODEL say."""
    scores: Floats
    """(n,) by that version."""
    features: Floats
    """(n, features)."""

    def __len__(self) -> int:
        return len(self.number)

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Held:
        """The predictions at these places, or those that are chosen."""
        return Held(self.number[rows], self.words[rows], self.scores[rows], self.features[rows])


@dataclass(frozen=True, slots=True)
class Learnt:
    """What came of a batch of outcomes."""

    versions: list[Made]
    """New versions of champion and challengers, in order."""
    windows: list[WindowMetrics]
    """Metric windows that closed."""
    drift: list[Told]
    """What has changed in the stream, and what was done about it."""


@dataclass(frozen=True, slots=True)
class Known:
    """Outcomes of n predictions, and what is held of them."""

    row: Int64s
    words: Int64s
    log: Floats
    y: npt.NDArray[np.int8]
    known_us: Int64s
    cause: npt.NDArray[np.uint8]
    at_us: Int64s
    """The largest time of any event or outcome until each."""

    @classmethod
    def of(cls, outcomes: Outcomes, row: Int64s, words: Int64s, log: Floats) -> Known:
        """These outcomes, of the predictions of these rows."""
        known = np.array(outcomes.known, np.int64)
        at_us = np.maximum.accumulate(np.maximum(known, words[:, TIME]))
        y, cause = np.array(outcomes.values, np.int8), np.array(outcomes.causes, np.uint8)
        return cls(row, words, log, y, known, cause, at_us)

    def __getitem__(self, rows: slice | npt.NDArray[np.bool_]) -> Known:
        return Known(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(slots=True)
class Lane:
    """What is held of the predictions of one lane: places are counted within it."""

    held: int = 0
    """Every prediction at a place below this is held."""
    beyond: set[int] = field(default_factory=set)
    """Places that are held although not all before them are."""
    scored: int = 0
    """How many of them the models have scored that did not when they came."""
    watched: int = 0
    """How many of them were watched go by."""
    clock_us: int = NEVER
    """How far time has come in it."""
    learnt: int = 0
    """Outcomes learnt from."""
    first: int = 0
    """The first place that may still be asked for; -1 while some before all of these may be."""

    def add(self, places: Int64s) -> None:
        """Note that predictions at these places are held, none of them below `held`."""
        if not len(places):
            return
        most = int(places.max()) + 1
        if len(places) == most - self.held and not self.beyond:
            whole = (np.sort(places) == np.arange(self.held, most)).all()
            self.held = most if whole else self.held
        if self.held < most:
            self.beyond.update(places.tolist())
            while self.held in self.beyond:
                self.beyond.remove(self.held)
                self.held += 1
