"""Fewer events than usual: a source that has fallen silent, or a part of it that has."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.state import restore
from operators.drift.alarm import Finding
from operators.drift.bucket import Bucket, Scope

HOUR_US = 3_600_000_000
WEEK = 168
_DIFFERS, _FOR = 16.0, 48.0
"""How much hours differ before that is known, in variances of Poisson, and for how many it counts.
"""
_LONG = 500.0
"""So many hours the newest differences are weighed with."""
_MOST = 64.0
"""No hour differs by more."""
_SCALARS = (
    "hour", "filled", "differs", "tested", "sum", "since", "events", "usual", "raised",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Volume:
    """Tells when events become far fewer than at the same hour of the weeks before.

    Each hour is compared with the mean of that hour in the last `weeks` or so: the ratio of the
    likelihoods of `fall` times as many and of as many is added up while it speaks for the first
    (CUSUM; Page, 1954), divided by how much more than Poisson's counts hours have differed so far.
    At ln(`run_length`) it alarms: where weeks are alike, a false alarm comes after so many hours at
    the earliest, in the mean (Lorden's bound). Nothing is told in the first week. A change that
    lasts a week is what is usual from then on. The events of a bucket that lasts longer than an
    hour are taken as spread over its hours as they usually are. State: 3 kB.
    """

    fall: float = 0.5
    weeks: float = 4.0
    run_length: float = 50_000.0

    def bind(self, scope: Scope) -> VolumeMonitor:
        """One that has seen nothing."""
        return VolumeMonitor(self)


class VolumeMonitor:
    """What `Volume` declares."""

    def __init__(self, volume: Volume) -> None:
        self._volume, self._limit = volume, math.log(volume.run_length)
        self._means, self._weeks = np.zeros(WEEK), np.zeros(WEEK)
        """Events of each hour of the week, a Thursday's first as in 1970; of how many weeks."""
        self._at = dict.fromkeys(_SCALARS, 0.0)
        self._at["hour"] = -1.0
        self._begin()

    def _begin(self) -> None:
        """Know of no hour what is usual."""
        self._means[:], self._weeks[:] = 0.0, 0.0
        self._at |= {"differs": _DIFFERS, "tested": _FOR, "sum": 0.0, "raised": 0.0}

    def close(self, bucket: Bucket) -> list[Finding]:
        """Take the next bucket; a change is told with the hour that shows it."""
        at = self._at
        if at["hour"] < 0:
            at["hour"] = -(-bucket.start_us // HOUR_US)
        found: list[Finding] = []
        first, last = bucket.start_us // HOUR_US, -(-bucket.end_us // HOUR_US)
        if last - first == 1 and bucket.end_us < last * HOUR_US:
            if first >= at["hour"]:
                at["filled"] += bucket.events
            return found
        if last - first > 2 * WEEK:
            first = last - 2 * WEEK
            at["hour"] = max(at["hour"], float(first))
        for hour, events in self._spread(bucket, first, last):
            if hour < at["hour"]:
                continue
            at["filled"] += events
            if bucket.end_us >= (hour + 1) * HOUR_US:
                found += self._test(hour, at["filled"])
                at["filled"], at["hour"] = 0.0, hour + 1.0
        return found

    def _spread(self, bucket: Bucket, first: int, last: int) -> list[tuple[int, float]]:
        """How many of a bucket's events are of each of these hours."""
        if last - first == 1:
            return [(first, float(bucket.events))]
        hours = np.arange(first, last)
        starts = np.maximum(hours * HOUR_US, bucket.start_us)
        ends = np.minimum((hours + 1) * HOUR_US, bucket.end_us)
        weights = (ends - starts) * (self._means[hours % WEEK] + 1e-9)
        events = weights / weights.sum() * bucket.events
        return [*zip(hours.tolist(), events.tolist(), strict=True)]

    def _test(self, hour: int, events: float) -> Iterator[Finding]:
        """Compare an hour that is over with what is usual, and count it in."""
        at, place = self._at, hour % WEEK
        usual, weeks = float(self._means[place]), float(self._weeks[place])
        if weeks:
            yield from self._compare(hour, events, usual)
        if at["raised"]:
            return
        if weeks and usual:
            differs = min((events - usual) ** 2 / usual, _MOST)
            at["tested"] = min(at["tested"] + 1, _LONG)
            at["differs"] += (differs - at["differs"]) / at["tested"]
        self._weeks[place] = min(weeks + 1, self._volume.weeks)
        self._means[place] += (events - usual) / self._weeks[place]

    def _compare(self, hour: int, events: float, usual: float) -> Iterator[Finding]:
        at, fall = self._at, self._volume.fall
        gain = (usual * (1 - fall) + events * math.log(fall)) / max(at["differs"], 1.0)
        at["sum"] = min(max(at["sum"] + gain, 0.0), self._limit)
        if at["sum"]:
            at["events"] += events
            at["usual"] += usual
        lasted = at["raised"] and hour - at["raised"] >= WEEK
        if at["sum"] >= self._limit and not at["raised"]:
            at["raised"] = float(hour)
            yield self._finding(hour)
        elif at["raised"] and (lasted or not at["sum"]):
            yield self._finding(hour, over=True)
            at["raised"] = 0.0
            if lasted:
                self._begin()
        if not at["sum"]:
            at["since"], at["events"], at["usual"] = hour + 1.0, 0.0, 0.0

    def _finding(self, hour: int, *, over: bool = False) -> Finding:
        at = self._at
        evidence = {"events": at["events"], "usual": at["usual"], "hours": hour + 1 - at["since"]}
        size = 1 - at["events"] / at["usual"] if at["usual"] else 0.0
        return Finding(
            kind="volume",
            detector="cusum",
            since_us=int(at["since"]) * HOUR_US,
            size=size,
            threshold=1 - self._volume.fall,
            evidence=evidence,
            over=over,
        )

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """A copy of everything kept."""
        at = np.array([self._at[name] for name in _SCALARS])
        return {"means": self._means.copy(), "weeks": self._weeks.copy(), "at": at} | self._fixed()

    def _fixed(self) -> dict[str, npt.NDArray[Any]]:
        volume = self._volume
        return {"settings": np.array([volume.fall, volume.weeks, volume.run_length])}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a `state()` to the bit; StateError for one of another make."""
        at = np.zeros(len(_SCALARS))
        parts = {"means": self._means, "weeks": self._weeks, "at": at}
        restore(parts, self._fixed(), state, "volume")
        self._at = dict(zip(_SCALARS, at.tolist(), strict=True))
