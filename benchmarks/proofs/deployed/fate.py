"""When a job's processes are killed, and how long its restarts take."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from benchmarks.proofs.deployed.process import JobProcess

SOON = 0.4
"""How many of its processes are killed while they start, rather than when they are at work."""
LONGEST_SECONDS = 30.0
"""When one is killed that does not come to work, the broker being away."""
SILENT_SECONDS = 0.3
"""So soon after its start no process says anything: what is appended then was sent before."""


class Fate:
    """Kills a job's processes, `wanted` of them, each at a moment drawn when it begins: while it
    starts, or `within` so many seconds after it came to work.

    `at_work` says since when the process that runs now is at work, None while it is not.
    """

    def __init__(
        self,
        job: JobProcess,
        wanted: int,
        within: float,
        rng: Random,
        at_work: Callable[[], float | None],
    ) -> None:
        self._job, self._wanted, self._within = job, wanted, within
        self._rng, self._at_work = rng, at_work
        self._starting = within
        """How long the last one took to come to work."""
        self._start = -1
        self._soon = False
        self._delay = 0.0

    @property
    def done(self) -> bool:
        """Whether all are killed."""
        return self._job.kills >= self._wanted

    def turn(self) -> None:
        """Kill the process if its time has come."""
        if self.done:
            return
        if self._job.starts != self._start:
            self._start = self._job.starts
            self._soon = self._rng.random() < SOON
            self._delay = self._rng.uniform(0.0, self._starting if self._soon else self._within)
        now = time.monotonic()
        at_work = self._at_work()
        if at_work is not None:
            self._starting = max(at_work - self._job.began, self._within)
        since = self._job.began if self._soon else at_work
        late = now > self._job.began + LONGEST_SECONDS
        if late or (since is not None and now > since + self._delay):
            self._job.kill()


class Restarts:
    """Measures the time from a start of the score job to its first new prediction.

    `heard` says when the newest prediction that a subscriber has was appended, seconds UTC; `away`
    when the broker was away last.
    """

    def __init__(
        self, job: JobProcess, heard: Callable[[], float], away: Callable[[], float]
    ) -> None:
        self.seconds: list[float] = []
        """Of those during which the broker was there."""
        self.seconds_away: list[float] = []
        """Of the others."""
        self._job, self._heard, self._away = job, heard, away
        self._start = -1
        self._since = 0.0
        self._spoke: float | None = None

    def turn(self) -> None:
        """Listen."""
        now = time.monotonic()
        if self._job.starts != self._start:
            self._start, self._spoke = self._job.starts, None
            self._since = time.time() - now + self._job.began + SILENT_SECONDS
        if self._spoke is None and self._heard() > self._since:
            self._spoke = now
            undisturbed = self._away() < self._job.began
            times = self.seconds if undisturbed else self.seconds_away
            times.append(round(now - self._job.began, 2))

    def spoke(self) -> float | None:
        """When the process that runs now was first heard; None before."""
        return self._spoke if self._job.starts == self._start else None
