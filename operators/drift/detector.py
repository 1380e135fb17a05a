"""A detector in a stream of numbers: told one after another, it says where they changed.

What a detector keeps are two flat arrays, of int64 words and of reals, so that a kernel may step
through those of many detectors as through one; the first words are the same in all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from models.state import restore
from operators.drift.ranks import WORDS

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Int8s = npt.NDArray[np.int8]

TOLD, SINCE, RANDOM, OWN = range(4)
"""Words: what the latest value was told to be; on an alarm how many of the latest values are from
after the change; where the random numbers are; the first of the detector's own."""
NOTHING, WARNING, ALARM = range(3)

RUN = (
    "void(float64[::1], int64[::1], float64[::1], float64[::1], int64[::1], int8[::1], int64[::1])"
)
"""Of a kernel that steps through values: values, words, reals, settings, tree of ranks; told, where
something is, and since."""


def word(seed: int) -> int:
    """The random word that a seed of 0 or more stands for; never 0."""
    return (seed * 2 + 1) * 0x9E3779B97F4A7C15 % 2**63


class Changes(NamedTuple):
    """Places among the values of one call."""

    alarms: Int64s
    since: Int64s
    """Of each alarm: how many values, the one that told and those before it, are of the change."""
    warnings: Int64s


class Arrays(NamedTuple):
    """A detector that has seen nothing."""

    words: Int64s
    reals: Floats
    settings: Floats


class Configuration(Protocol):
    """What a detector is declared as."""

    @property
    def run_length(self) -> float:
        """How many values there are from one false alarm to the next, on average."""

    @property
    def calibrated(self) -> bool:
        """Whether it watches sequential ranks, and so keeps its run length on any stream."""

    def arrays(self) -> Arrays:
        """What it starts with."""


class Detector:
    """Watches one stream. After an alarm it begins anew with the next value, as River's do."""

    def __init__(self, name: str, run: Callable[..., None], configuration: Configuration) -> None:
        self._name = name
        self._run = run
        self._words, self._reals, self._settings = configuration.arrays()
        self._tree = np.zeros(WORDS if configuration.calibrated else 0, np.int64)

    def update_many(self, values: Floats) -> Changes:
        """Take n finite values in order; any cut into calls gives the same alarms.

        ValueError where a value is not finite.
        """
        values = np.ascontiguousarray(values, np.float64)
        if not np.isfinite(values).all():
            place = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValueError(f"{self._name}: wanted finite values, got {values[place]} at {place}")
        told, since = np.zeros(len(values), np.int8), np.empty(len(values), np.int64)
        self._run(values, self._words, self._reals, self._settings, self._tree, told, since)
        alarms = np.flatnonzero(told == ALARM)
        return Changes(alarms, since[alarms], np.flatnonzero(told == WARNING))

    @property
    def nbytes(self) -> int:
        """Bytes of memory, the same however long the stream is."""
        return sum(each.nbytes for each in self.state().values())

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """A copy of everything kept."""
        return {name: each.copy() for name, each in (self._kept() | self._fixed()).items()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a `state()` to the bit; StateError where it is of another configuration."""
        restore(self._kept(), self._fixed(), state, self._name)

    def _kept(self) -> dict[str, npt.NDArray[Any]]:
        return {"words": self._words, "reals": self._reals, "tree": self._tree}

    def _fixed(self) -> dict[str, npt.NDArray[Any]]:
        return {"settings": self._settings}
