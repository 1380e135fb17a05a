"""What a job writes down of itself while it runs: plain fields, for another thread to read.

The job's own thread sets ints and floats and swaps small dictionaries; nothing is locked, so that
the loop never waits for a reader. What the job keeps anyway (its ledger, its state's size) is not
copied at every step: the job names a function, called when somebody asks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from jobs.monitoring.histogram import DELAY_EDGES, SCORE_EDGES, Histogram
from jobs.monitoring.recent import Recent
from operators.drift.alarm import Alarm
from operators.drift.response import Told
from operators.evaluate import WindowMetrics

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

STALLED_SECONDS = 30.0
"""A loop that has not turned for so long is not healthy."""
BEHIND_SECONDS = 10.0
"""A job that is so far behind one of its inputs, or whose output is stuck so long, is not ready."""
MANY = 64
"""Predictions that are counted at once."""
Role = Literal["score", "learn"]


def nothing() -> Mapping[str, int]:
    """What is said of what no job has named yet."""
    return {}


@dataclass(slots=True)
class InputGauge:
    """One partition that is read.

    >>> gauge = InputGauge("labels", 0, until_us=5_000_000)
    >>> gauge.took(2, stamp_us=4_000_000)
    >>> gauge.stands(behind=7, now_us=5_000_000)
    >>> gauge.lag_seconds(6_000_000)
    2.0
    """

    topic: str
    partition: int
    until_us: int
    """All that was appended before this moment has been read; at first, when reading began."""
    taken: int = 0
    """Records taken since the start."""
    behind: int = 0
    """Records that are there and were not taken yet."""

    def took(self, records: int, stamp_us: int) -> None:
        """Say that records were taken, the last of them appended at this moment."""
        self.taken += records
        self.until_us = stamp_us

    def stands(self, behind: int, now_us: int) -> None:
        """Say, often, how many records are there that were not taken."""
        self.behind = behind
        if behind <= 0:
            self.until_us = now_us

    def lag_seconds(self, now_us: int) -> float:
        """How long ago what is read next was appended, at most; 0 where nothing is left to read."""
        return max(now_us - self.until_us, 0) / 1e6 if self.behind > 0 else 0.0


@dataclass(slots=True)
class SnapshotGauge:
    """Snapshots of the state."""

    taken: int = 0
    seconds: float = 0.0
    """How long the last one took, from the copy to the rename."""
    at_us: int = 0
    """When the last one was there, microseconds UTC; 0 before the first."""
    _began_us: int = 0

    def begun(self, now_us: int) -> None:
        """A snapshot is being written from now on."""
        self._began_us = now_us

    def seen(self, now_us: int, *, busy: bool) -> None:
        """Whether it is still being written, asked often."""
        if self._began_us and not busy:
            self.taken += 1
            self.seconds = (now_us - self._began_us) / 1e6
            self.at_us, self._began_us = now_us, 0


@dataclass(slots=True)
class ModelGauge:
    """The champion that scores, or that the learner published last."""

    version: int = 0
    since_us: int = 0
    """When it took effect or was published, microseconds UTC of the wall clock."""
    swaps: int = 0
    """Versions put to use, or published, since the start."""
    longest_swap_seconds: float = 0.0
    """The longest the loop stood still for one."""
    refused: int = 0
    """Versions that were damaged, foreign or wrongly signed."""

    def serves(self, version: int, now_us: int) -> None:
        """Note which version scores; another than before took effect at this moment."""
        if version != self.version:
            self.version, self.since_us = version, now_us
            self.swaps += 1


@dataclass(slots=True)
class PredictionGauge:
    """The predictions that a score job has sent."""

    decided: Counter[str] = field(default_factory=Counter)
    """By decision: `approve` or `review`."""
    late: int = 0
    """Of events that came later than the lateness."""
    scores: Histogram = field(default_factory=lambda: Histogram(SCORE_EDGES))

    def made(self, scores: Floats, review: Bools, late: Bools) -> None:
        """Count n predictions."""
        reviews = int(np.count_nonzero(review))
        self.decided["review"] += reviews
        self.decided["approve"] += len(scores) - reviews
        self.late += int(np.count_nonzero(late))
        self.scores.add(scores)


@dataclass(slots=True)
class LearningGauge:
    """What the learn job has done."""

    examples: Counter[str] = field(default_factory=Counter)
    """Learnt from, by cause: `label`, `maturity`, `late_label`, `reversal`."""
    positives: int = 0
    """Of those the positive ones."""
    delays: Histogram = field(default_factory=lambda: Histogram(DELAY_EDGES))
    """Seconds from an event until its label was told, where one was."""
    windows: dict[str, WindowMetrics] = field(default_factory=dict)
    """The last closed window of each scorer, over all its examples."""
    alarms: Counter[str] = field(default_factory=Counter)
    """Alarms raised, by what has changed."""
    watched: Callable[[], Mapping[str, float]] = nothing
    """How far watching is, by name; asked for when somebody reads."""
    open: Callable[[], Mapping[str, int]] = nothing
    """Changes that were told and are not over, by what has changed; likewise."""

    def closed(self, windows: Sequence[WindowMetrics]) -> None:
        """Take over the windows that just closed."""
        self.windows = self.windows | {row.scorer: row for row in windows if not row.slice}

    def learnt(self, causes: Sequence[str], values: Sequence[int], delays_us: Int64s) -> None:
        """Count examples: how each became known, whether it is positive, how late labels were."""
        self.examples.update(causes)
        self.positives += sum(values)
        self.delays.add(delays_us / 1e6)

    def raised(self, told: Sequence[Told]) -> None:
        """Count alarms, but for those that say that a change is over."""
        for each in told:
            if isinstance(each, Alarm):
                self.alarms[each.kind] += not each.over


class Online(Protocol):
    """What is asked of an online store (`streams.redis.OnlineStore`)."""

    @property
    def up(self) -> bool:
        """Whether the last write went through."""

    @property
    def waiting(self) -> int:
        """Lines not written yet."""

    @property
    def lag(self) -> float:
        """Seconds that the oldest of them has waited."""

    @property
    def written(self) -> int:
        """Lines written since the start."""

    @property
    def superseded(self) -> int:
        """Lines not written since a newer one of the same key came before their turn."""

    @property
    def failures(self) -> int:
        """Writes that failed and were tried again."""


class Monitor:
    """The fields of one job, set by its thread and read by `jobs.monitoring.serving`.

    >>> monitor = Monitor("score", pipeline="fraud", definition="9f3a")
    >>> monitor.not_ready()
    ['start: has not begun']
    >>> monitor.done("start")
    >>> monitor.wait("broker", "no answer")
    >>> monitor.not_ready()
    ['broker: no answer']

    `clock` measures how long ago the loop turned; `now_us` is the time of day in microseconds UTC.
    """

    def __init__(
        self,
        role: Role,
        *,
        pipeline: str,
        definition: str,
        inputs: Sequence[tuple[str, int]] = (),
        clock: Callable[[], float] = time.monotonic,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.role = role
        self.pipeline = pipeline
        self.definition = definition
        self.inputs = [InputGauge(*each, until_us=now_us()) for each in inputs]
        """In the order of the consumer's inputs."""
        self.clock = clock
        self.now_us = now_us
        self.began = clock()
        self.latency = Histogram()
        """From a record's append stamp until the broker had what came of it, for all to read."""
        self.ledger: Callable[[], Mapping[str, int]] = nothing
        """What came in and where it went, by name; asked for when somebody reads."""
        self.state_bytes: Callable[[], Mapping[str, int]] = nothing
        """Bytes of each part of the state; asked for when somebody reads."""
        self.dead_letters: Counter[str] = Counter()
        """By reason."""
        self.snapshots = SnapshotGauge()
        self.model = ModelGauge()
        self.predictions = PredictionGauge() if role == "score" else None
        self.learning = LearningGauge() if role == "learn" else None
        self.features: Recent | None = None
        """Those of the events that came lately."""
        self.online: Online | None = None
        self._uncounted: list[tuple[Floats, Bools, Bools, Floats]] = []
        self._waits = {"start": "has not begun"}
        self._turned = -1.0
        self._output_waiting = 0
        self._output_moved = clock()

    def scored(self, scores: Floats, review: Bools, late: Bools, features: Floats) -> None:
        """Count n predictions, with the (n, features) that they were made from.

        Their arrays are kept, as they are, until there are MANY or the loop `turned`: to count
        one costs as much as to count a hundred.
        """
        self._uncounted.append((scores, review, late, features))
        if sum(len(each) for each, *_ in self._uncounted) >= MANY:
            self._count()

    def _count(self) -> None:
        parts, self._uncounted = self._uncounted, []
        scores, review, late, features = (
            parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
        )
        if self.predictions and len(scores):
            self.predictions.made(scores, review, late)
        if self.features:
            self.features.add(features)

    def turned(self) -> None:
        """Say that the loop is alive: often, and now and then during a long restore."""
        self._turned = self.clock()
        if self._uncounted:
            self._count()

    @property
    def output_waiting(self) -> int:
        """Records handed on that the broker has not acknowledged; set often."""
        return self._output_waiting

    @output_waiting.setter
    def output_waiting(self, records: int) -> None:
        if not records or records < self._output_waiting:
            self._output_moved = self.clock()
        self._output_waiting = records

    def wait(self, subject: str, why: str) -> None:
        """Say what the job is not ready for; subjects are `start`, `restore` and `broker`."""
        self._waits = self._waits | {subject: why}

    def done(self, subject: str) -> None:
        """Say that it no longer waits for this; of what it did not wait for, nothing."""
        if subject in self._waits:
            self._waits = {name: why for name, why in self._waits.items() if name != subject}

    @property
    def step_age(self) -> float:
        """Seconds since the loop turned; 0 before its first step."""
        return 0.0 if self._turned < 0 else max(self.clock() - self._turned, 0.0)

    def unhealthy(self) -> list[str]:
        """What is wrong with the process; empty while its loop turns, or has yet to begin."""
        age = self.step_age
        if age < STALLED_SECONDS:
            return []
        return [f"loop: has not turned for {age:.0f} s; less than {STALLED_SECONDS:.0f} is healthy"]

    def not_ready(self) -> list[str]:
        """What it waits for: restore, broker, inputs to catch up with; empty when it is ready."""
        now_us = self.now_us()
        lags = [(each, each.lag_seconds(now_us)) for each in self.inputs]
        stuck = self.clock() - self._output_moved if self._output_waiting else 0.0
        output = f"output: {self._output_waiting} records not acknowledged for {stuck:.0f} s"
        return [
            *(f"{subject}: {why}" for subject, why in self._waits.items()),
            *([output] if stuck >= BEHIND_SECONDS else []),
            *(
                f"{each.topic}/{each.partition}: {seconds:.0f} s and {each.behind} records behind"
                for each, seconds in lags
                if seconds >= BEHIND_SECONDS
            ),
            *self.unhealthy(),
        ]
