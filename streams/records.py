"""One frozen record per stage, in the order of the flow.

The transaction itself is the pipeline's own `Event`. Records are what topics and folders hold.
Inside a process the same values travel as columns (`streams.batch`).
"""

from __future__ import annotations

import msgspec


class Label(msgspec.Struct, frozen=True):
    """What became known of an event. In JSON `value` has the name the pipeline gives its label."""

    id: str
    time: int
    """When it became known, microseconds UTC."""
    value: bool


class Prediction(msgspec.Struct, frozen=True):
    """What the score job says of one event. Its id is the event's id, as text."""

    id: str
    time: int
    """The event's time, microseconds UTC."""
    score: float
    """The calibrated probability of the label."""
    decision: str
    """`review` or `approve`, by the thresholds of the version."""
    reasons: tuple[str, ...]
    """The features with the largest contributions, largest first."""
    model_version: int
    """The version's sequence number; 0 is the prior."""
    features: tuple[float | None, ...]
    """What the score was made from, in the pipeline's order; null is missing."""
    number: int = -1
    """Its place among the predictions of its job, from 0: one that is sent again has the same."""
    inputs: str = ""
    """The same for all whose features have the same names and definitions."""
    interval: tuple[float, float] = (0.0, 1.0)
    """Between what shares of positives events of such scores have had lately, at 95 %."""


QUIET_ROWS = 1000
"""Without any outcome the learner is told how far scoring is after this many predictions,"""
QUIET_US = 3_600_000_000
"""and when time has come to another such span of it."""


def quiet(predictions: int, before_us: int, clock_us: int) -> bool:
    """Whether the learner need not be told that scoring has come this far since."""
    return predictions < QUIET_ROWS and clock_us // QUIET_US == before_us // QUIET_US


class Outcomes(msgspec.Struct, frozen=True):
    """Whose labels became known, in the order of the score job: columns of equal length.

    Where scoring is spread over lanes each tells of its own events: those numbered
    `base` + place × `lanes` + `lane`. `before`, `next` and `first` then count within the lane.
    All predictions at places below `next` come before what is told here, and so do all numbered
    below `base`: those are of jobs whose state the one that tells has gone on with.
    """

    before: int
    """How many outcomes were told before: what is told again has the same."""
    next: int
    """How many events were scored until here."""
    first: int
    """The place of the first prediction that may still be asked for; -1 while some numbered below
    `base` may be."""
    clock: int
    """The largest time of any event or label until here, microseconds UTC."""
    numbers: list[int]
    """Which predictions, by their number."""
    values: list[int]
    """1 or 0."""
    known: list[int]
    """When each became known: the label's time, or the event's time plus the maturity."""
    causes: list[int]
    """BY_LABEL, BY_MATURITY, BY_LATE_LABEL or BY_REVERSAL of `operators.labels`."""
    lane: int = 0
    lanes: int = 1
    base: int = 0
    moved: int = 0
    """How many predictions are numbered below `base`."""
    more: bool = False
    """Whether more became known at this `clock`, which is told next."""


class Example(msgspec.Struct, frozen=True):
    """A prediction joined with its label: what the learner learnt from, in its order."""

    number: int
    """Of the prediction."""
    time: int
    """The event's time."""
    known: int
    """When its label became known, or its maturity passed."""
    value: int
    """1 or 0."""
    cause: str
    """How it became known: `label`, `maturity`, `late_label` or `reversal`."""
    score: float
    model_version: int
    features: tuple[float | None, ...]
