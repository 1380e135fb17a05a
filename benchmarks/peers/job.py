"""What a peer is told. Imported by every environment: the standard library only."""

from __future__ import annotations

import json
import sys
from typing import NamedTuple

DAY_US = 86_400_000_000
DAYS = (1, 7, 30)


class Job(NamedTuple):
    """From which topic to which, and where state may lie."""

    brokers: str
    source: str
    target: str
    folder: str
    exactly_once: bool = False
    commit_ms: int = 100

    @classmethod
    def given(cls) -> Job:
        """What the command line says."""
        return cls(**json.loads(sys.argv[1]))

    def text(self) -> str:
        """What the command line is to say."""
        return json.dumps(self._asdict())


def windows(events: list[list[int]]) -> dict[str, float]:
    """Counts and means of a customer's events, [microseconds, cents], the current one last.

    >>> windows([[0, 300], [DAY_US, 100]])["mean_7d"]
    2.0
    """
    now, made = events[-1][0], {}
    for days in DAYS:
        since = now - days * DAY_US
        inside = [cents for time, cents in events if time > since]
        made[f"count_{days}d"] = float(len(inside))
        made[f"mean_{days}d"] = sum(inside) / len(inside) / 100
    return made
