"""What is shown of jobs or of a run, wherever it was read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jobs.alarms import what
from operators.drift.alarm import Alarm

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """A name and what is said of it; `history`, evenly spaced, is drawn as bars beside it."""

    name: str
    said: str
    good: bool = True
    history: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a scorer was of late."""

    scorer: str
    auc: float
    average_precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Values over time, a line each."""

    title: str
    lines: Mapping[str, Sequence[float]]
    unit: str = ""
    first: str = ""
    last: str = ""
    """What the ends of the time axis are."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All that is shown."""

    title: str
    clock: str
    panels: Mapping[str, Sequence[Line]]
    quality: Sequence[Quality] = ()
    curves: Sequence[Curve] = ()
    alarms: Sequence[Alarm] = ()
    """Oldest first."""
    note: str = ""
    """What is missing, and why."""

    @property
    def line(self) -> str:
        """The whole in a line."""
        said = [
            f"{name}: {', '.join(f'{each.name} {each.said}' for each in lines)}"
            for name, lines in self.panels.items()
        ]
        alarm = [f"last alarm: {alarm_text(self.alarms[-1])}"] if self.alarms else []
        return "; ".join((*said, *alarm))


def seconds(value: float) -> str:
    """A duration as one would say it.

    >>> seconds(0.0042), seconds(75.0), seconds(200_000.0)
    ('4.2 ms', '1 min 15 s', '2 d 7 h')
    """
    if math.isnan(value):
        return "–"
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    whole = round(value)
    if whole < 60:
        return f"{value:.3g} s"
    for unit, name, part, less in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= unit:
            return f"{whole // unit} {name} {whole % unit // part} {less}"
    return f"{whole // 60} min {whole % 60} s"


def count(value: float) -> str:
    """A number without digits behind the point; – of none.

    >>> count(1234.0), count(math.nan)
    ('1,234', '–')
    """
    return "–" if math.isnan(value) else f"{value:,.0f}"


def number(value: float) -> str:
    """A number with two digits; – of none.

    >>> number(0.00123), number(math.nan)
    ('0.0012', '–')
    """
    return "–" if math.isnan(value) else f"{value:.2g}"


def share(part: float, whole: float) -> str:
    """A part of a whole, in per cent.

    >>> share(1, 80), share(0, 0)
    ('1.25%', '–')
    """
    return f"{100 * part / whole:.3g}%" if whole > 0 else "–"


def alarms_said(raised: int, going: int) -> str:
    """How many alarms there were, and how many of the changes go on.

    >>> alarms_said(1, 0)
    '1 alarm, 0 going on'
    """
    return f"{raised:,} alarm{'' if raised == 1 else 's'}, {going:,} going on"


def moment(time_us: int) -> str:
    """A time of events.

    >>> moment(1_700_000_000_000_000)
    '14 Nov 2023 22:13'
    """
    at = EPOCH + timedelta(microseconds=time_us)
    return f"{at.day} {at:%b %Y %H:%M}"


def alarm_text(alarm: Alarm) -> str:
    """An alarm as one would say it."""
    if alarm.over:
        return f"{moment(alarm.at_us)} {what(alarm)} is over"
    return (
        f"{moment(alarm.at_us)} {what(alarm)} by {alarm.size:.3g} (told from {alarm.threshold:.3g})"
    )
