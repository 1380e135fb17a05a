"""Concept drift: whether labels still follow from inputs as the scores say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.state import restore
from operators.drift import expected, persistence
from operators.drift.alarm import Finding, Kind
from operators.drift.bucket import Bucket, Scope
from operators.drift.detector import RANDOM, Floats, Int64s, word
from operators.drift.page_hinkley import THRESHOLD, PageHinkley
from operators.drift.ranks import WORDS
from streams.errors import ConfigError

KINDS: tuple[Kind, ...] = ("concept", "calibration", "calibration")
"""Of what is watched: places, fewer positives, more positives."""
LEAST = 1_000
"""A shorter run length leaves too few groups to tell anything by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """Watches by the outcomes, of all events and of each value of each slice.

    `concept`: positives come at other scores than was expected, the model recognises them less.
    More or fewer positives, or other inputs, are no such change. `calibration`: there are more or
    fewer positives than the scores say, by another factor than before.

    `run_length`: positives from one false alarm to the next, on average, of everything together.
    `shift`: the change told soonest, in standard deviations of the mean of 30 positives. `after`:
    positives that are waited for first. While a change is not over, one more to the same side is
    told after 1,000 positives at the earliest.
    """

    run_length: float = 10_000
    shift: float = 2.0
    after: int = 1_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.run_length < LEAST or not 0 < self.shift <= 2:
            raise ConfigError(
                f"Concept: run_length is at least {LEAST:,} positives, shift above 0 and at most "
                f"2, got {self.run_length:,} and {self.shift}"
            )

    def bind(self, scope: Scope) -> ConceptMonitor:
        """One that has seen nothing."""
        return ConceptMonitor(self, scope.slices)


class ConceptMonitor:
    """A `Monitor` of matured scores. Memory: 55 kB, and as much for each value of a slice.

    Each example is in one series of all and in one of each slice, and three things are watched of
    each: the rates of false alarms of the parts, at their run length, add up to that of the whole.
    """

    def __init__(self, declared: Concept, slices: Mapping[str, tuple[str, ...]]) -> None:
        self.slices = slices
        self._after = declared.after
        length = declared.run_length * len(KINDS) * (1 + len(slices))
        watched = PageHinkley(
            run_length=length / expected.GROUP, shift=declared.shift, mode="up", min_instances=1
        )
        track = watched.arrays()
        self._names = [("", ""), *((name, value) for name in slices for value in slices[name])]
        count = len(self._names)
        words = np.tile(track.words, (count, len(KINDS), 1))
        words[:, :, RANDOM] = [
            [word(declared.seed + len(KINDS) * series + each) for each in range(len(KINDS))]
            for series in range(count)
        ]
        self._parts = {
            "begun": np.zeros(2, np.int64),
            "words": words,
            "reals": np.tile(track.reals, (count, len(KINDS), 1)),
            "trees": np.zeros((count, len(KINDS), WORDS), np.int64),
            "bins": np.zeros((count, 2 * expected.BINS)),
            "groups": np.zeros((count, expected.FIELDS)),
            "sums": np.zeros((count, len(KINDS), 2, expected.FIELDS)),
            "pasts": np.zeros((count, len(KINDS), persistence.FIELDS)),
            "alarms": np.zeros((count, len(KINDS), expected.SINCE_TOLD + 1)),
        }
        self._settings = track.settings

    def close(self, bucket: Bucket) -> Sequence[Finding]:
        """Take the examples that matured in the next bucket."""
        matured, parts = bucket.matured, self._parts
        positives = int(np.count_nonzero(matured.y))
        most = 1 + positives * len(KINDS) * (1 + len(self.slices))
        out = np.zeros((most, expected.ROW))
        rows = expected.take(
            matured.score, matured.y, matured.cause, matured.time_us, self._series(matured.codes),
            parts["begun"], self._after, parts["words"], parts["reals"], self._settings,
            parts["trees"], parts["bins"], parts["groups"], parts["sums"], parts["pasts"],
            parts["alarms"], out,
        )  # fmt: skip
        return [self._finding(row) for row in out[:rows]]

    @property
    def nbytes(self) -> int:
        """Bytes of memory, the same however long the stream is."""
        return sum(each.nbytes for each in self._parts.values())

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """A copy of everything kept."""
        return {name: each.copy() for name, each in self._parts.items()} | self._fixed()

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a `state()` to the bit; StateError where it is of another configuration."""
        restore(self._parts, self._fixed(), state, "concept")

    def _fixed(self) -> dict[str, npt.NDArray[Any]]:
        return {"settings": self._settings.copy(), "after": np.array([self._after])}

    def _series(self, codes: Int64s) -> Int64s:
        """The series of each example: that of all, then those of its values; -1 for none."""
        series = np.zeros((len(codes), 1 + len(self.slices)), np.int64)
        first = 1
        for column, values in enumerate(self.slices.values()):
            code = codes[:, column]
            there = (code >= 0) & (code < len(values))
            series[:, 1 + column] = np.where(there, first + code, -1)
            first += len(values)
        return series

    def _finding(self, row: Floats) -> Finding:
        """What a row of `expected.take` says."""
        track = int(row[expected.TRACK])
        before, after = row[expected.SUMS :].reshape(2, -1)
        name, value = self._names[int(row[expected.SERIES])]
        over = bool(row[expected.WHAT] == expected.ENDED)
        return Finding(
            kind=KINDS[track],
            detector="page_hinkley",
            since_us=int((after if over else before)[expected.TIME]),
            size=float(row[expected.SIZE]),
            threshold=float(self._settings[THRESHOLD]),
            slice=name,
            value=value,
            evidence=_figures("before", before) | _figures("now", after),
            over=over,
        )


def _figures(when: str, sums: Floats) -> dict[str, float]:
    """Means of a span: loss, score, share of positives; of positives what is watched."""
    examples, positives, loss, scores, _, _, level = sums.tolist()
    if not positives:
        return {}
    return {
        f"examples {when}": examples,
        f"positives {when}": positives,
        f"log loss {when}": loss / examples,
        f"score {when}": scores / examples,
        f"share of positives {when}": positives / examples,
        f"watched {when}": abs(level) / positives,
    }
