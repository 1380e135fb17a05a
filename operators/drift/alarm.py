"""What a monitor finds, and the alarm that is published of it."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal[
    "covariate",
    "missing",
    "schema",
    "score",
    "prior",
    "concept",
    "calibration",
    "performance",
    "label delay",
    "volume",
]
"""What has changed: inputs, their presence, their values' kinds; scores; the share of positives;
how labels follow from inputs; what a score is worth; how well events are ranked; when labels come;
how many events come.
"""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A change that has begun or ended, as one monitor says it of one bucket."""

    kind: Kind
    detector: str
    """The test or statistic, as `ks` or `page_hinkley`."""
    since_us: int
    """Event time from which on things are different, as well as can be told."""
    size: float
    """How large the change is, in the detector's own measure."""
    threshold: float
    """From what size on it is told."""
    features: tuple[str, ...] = ()
    """Those that changed, most changed first."""
    slice: str = ""
    value: str = ""
    """The slice and its value that it is of; both empty for all events."""
    evidence: dict[str, float] = {}
    """Figures by name: what was before, what is now, of how many events."""
    over: bool = False
    """Whether the change that was told has ended: things are as they were."""


class Alarm(Finding, frozen=True, kw_only=True):
    """A finding as a record of the `drift` topic."""

    number: int
    """Alarms of a deployment are numbered from 1; one number is one alarm, however often sent."""
    at_us: int
    """Event time at which it was raised: the end of the bucket that told."""
    version: int
    """The newest version that had scored by then."""

    def encode(self) -> bytes:
        """As JSON, always to the same bytes."""
        return msgspec.json.encode(self)
