"""How many parcels wait between the operators of a task: a reader goes at the pace of the others.

What a parcel costs hardly depends on how many rows are in it. A reader that takes small batches
while earlier ones still wait makes every event wait for all of them, and they never become fewer.
The operators of a task run in threads of one process: there they can tell it by counting.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

PAUSE_S = 0.0005
LONGEST_S = 0.1
"""What has waited for so long is not waited for: it was lost, or went to another process."""


@dataclass(slots=True)
class Hop:
    """From an operator to the next in the same task. Each number is written by one thread."""

    sent: int = 0
    taken: int = 0
    rows: deque[Any] = field(default_factory=deque)
    """Those of each parcel under way that has a head only, between operators of one thread."""


_HOPS: dict[tuple[str, int], dict[int, Hop]] = {}
"""By job and task, and by the place of the next operator."""


def hop(job: str, task: int, place: int) -> Hop:
    """The way to the operator at a place among those of a job's task."""
    return _HOPS.setdefault((job, task), {}).setdefault(place, Hop())


class Queue:
    """What waits in a task, as its reader sees it."""

    def __init__(self, job: str, task: int) -> None:
        self._at = job, task
        self._left = 0
        """What is not waited for any more."""
        self._since: float | None = None

    def empty_by(self, deadline: float, *, small: bool) -> bool:
        """Wait for nothing to wait; False if something does at the deadline, by `time.monotonic`.

        Unless batches are `small`: then there is more to do than time, and Flink keeps the bounds.
        """
        while small and (waiting := self._waiting()):
            now = time.monotonic()
            self._since = self._since or now
            if now > self._since + LONGEST_S:
                self._left += waiting
            elif now > deadline:
                return False
            else:
                time.sleep(PAUSE_S)
        self._since = None
        return True

    def _waiting(self) -> int:
        hops = list(_HOPS.get(self._at, {}).values())
        waiting = sum(each.sent - each.taken for each in hops)
        self._left = min(self._left, waiting)
        return waiting - self._left
