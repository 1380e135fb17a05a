"""A bucket: all that monitors are told of a span of event time, and that may be added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from operators.drift.alarm import Finding
from operators.drift.sketch import Sketch

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


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


@dataclass(frozen=True, slots=True)
class Bucket:
    """What happened within [start, end) of event time; the same whatever order it came in."""

    start_us: int
    end_us: int
    features: Sketch
    """Of the inputs, a row each."""
    scores: Sketch
    """Log-odds of the scores that decided: a row for all events, then one for each slice value."""
    matured: Matured
    version: int
    """The newest that scored in it."""


class Monitor(Protocol):
    """One way of watching. A function of the buckets alone, as they follow each other."""

    def close(self, bucket: Bucket) -> Sequence[Finding]:
        """Take the next bucket, which may be empty; say what it shows."""

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """A copy of everything kept."""

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a `state()` to the bit; StateError where it is of another configuration."""
