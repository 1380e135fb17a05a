"""A bucket: all that monitors are told of a span of event time, and that may be added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from operators.drift.alarm import Finding
from operators.drift.sketch import Sketch

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

SURE = 1e-12
"""No score counts as surer than this."""
SCALE = 256.0
ITSELF: Int64s = np.empty(0, np.int64)
"""What examples stand for of which each is one."""


def scaled_odds(score: Floats) -> Floats:
    """What a sketch is told of scores: their odds, so scaled that its bins go from 2**-16 to 2**16.

    Bins of odds are .06 to .12 wide in log-odds wherever scores lie; bins of log-odds are widest
    where the rare scores are.
    """
    sure = np.clip(score, SURE, 1 - SURE)
    return np.asarray(SCALE * sure / (1 - sure), np.float64)


@dataclass(frozen=True, slots=True)
class Matured:
    """n examples whose first label became known within a bucket, by (known, ident)."""

    known_us: Int64s
    time_us: Int64s
    """When the event was."""
    ident: Int64s
    score: Floats
    """By the version that decided."""
    y: npt.NDArray[np.int8]
    cause: npt.NDArray[np.uint8]
    """How the label became known, as `operators.labels` counts them: told, or by maturity."""
    codes: Int64s
    """(n, slices) the place of each event's value in each slice; others are of none."""
    stands: Int64s = field(default_factory=lambda: ITSELF)
    """(n,) how many examples each stands for, where there were too many to keep all; else empty."""

    def __len__(self) -> int:
        return len(self.known_us)

    def __getitem__(self, rows: slice | npt.NDArray[np.bool_]) -> Matured:
        return Matured(
            self.known_us[rows], self.time_us[rows], self.ident[rows], self.score[rows],
            self.y[rows], self.cause[rows], self.codes[rows],
            self.stands[rows] if len(self.stands) else self.stands,
        )  # fmt: skip


NOBODY = Matured(
    known_us=ITSELF,
    time_us=ITSELF,
    ident=ITSELF,
    score=np.empty(0),
    y=np.empty(0, np.int8),
    cause=np.empty(0, np.uint8),
    codes=np.empty((0, 0), np.int64),
)
"""No example."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """What happened within [start, end) of event time; the same whatever order it came in.

    It is one cell of the grid or several in a row; one with events lies within one hour, or is one
    cell. One that is empty may last much longer.
    """

    start_us: int
    end_us: int
    features: Sketch
    """Of the inputs, a row each; of none where it is told to patient monitors."""
    scores: Sketch
    """`scaled_odds` of the scores that decided: a row for all events, then for each slice value."""
    matured: Matured
    version: int
    """The newest that had scored by its end."""
    late: Matured = NOBODY
    """Frauds that became known after their maturity: those matured as genuine events before."""

    @property
    def events(self) -> int:
        """How many events were scored in it."""
        return self.scores.events()


@dataclass(frozen=True, slots=True)
class Scope:
    """What a pipeline has to be watched."""

    names: tuple[str, ...]
    """Of its features, the rows of `Bucket.features`."""
    slices: Mapping[str, tuple[str, ...]]
    """Its slices and their values, in the order of `Bucket.scores` and `Matured.codes`."""
    maturity_us: int
    """An event without a label counts as negative after so long."""
    budget: float
    """The share of events that are to be reviewed."""
    settle_us: tuple[int, ...]
    """How long each feature looks back: for so long it is not what it will be."""
    bucket: str
    """The grid that buckets lie on, as `15m`."""


class Monitor(Protocol):
    """One way of watching. A function of the buckets alone, as they follow each other."""

    def close(self, bucket: Bucket) -> Sequence[Finding]:
        """Take the next bucket, which may be empty; say what it shows."""

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """A copy of everything kept."""

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a `state()` to the bit; StateError where it is of another configuration."""


class Watcher(Protocol):
    """A monitor as a pipeline declares it; its `repr` says all its settings."""

    def bind(self, scope: Scope) -> Monitor:
        """One that watches this and has seen nothing; ConfigError where it cannot."""
