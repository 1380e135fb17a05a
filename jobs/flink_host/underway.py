"""How many parcels are under way in a job: a reader goes at the pace of the others.

What a parcel costs hardly depends on how many rows are in it, and the operators of a process share
Python's lock. A reader that takes small batches while an earlier one is under way makes every event
wait for all of them, and they never become fewer. What is under way in its own process it can tell
by counting.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

PAUSE_S = 0.0005
LONGEST_S = 0.1
"""What is under way for so long is not waited for: it was lost, or went to another process."""


@dataclass(slots=True)
class Hop:
    """From an operator's task to one of the next: what one counts, and the other."""

    sent: int = 0
    done: int = 0
    here: bool = False
    """Whether the receiver is known to be in this process."""
    rows: deque[Any] = field(default_factory=deque)
    """Those of each parcel under way that has a head only, between operators of one thread."""

    def work_done(self) -> None:
        """Count a parcel that the receiver is done with; one that was sent elsewhere, or is not
        waited for any more, counts for none.
        """
        self.done = min(self.done + 1, self.sent)
        self.here = True

    def give_up(self) -> None:
        """Wait no more for what is under way, nor for more before the receiver is heard of."""
        self.sent, self.here = self.done, False


_HOPS: dict[str, dict[tuple[int, int, int], Hop]] = {}
"""By job; by the receiver's place among the operators, the sending task and the receiving one."""


def hop(job: str, place: int, sender: int, receiver: int) -> Hop:
    """The way from a task to one of the operator at a place."""
    return _HOPS.setdefault(job, {}).setdefault((place, sender, receiver), Hop())


class Queue:
    """What is under way in a job, as a reader sees it."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._since: float | None = None

    def empty_by(self, deadline: float, *, small: bool) -> bool:
        """Wait for nothing to be under way; False if something is at the deadline, by
        `time.monotonic`.

        Unless batches are `small`: then there is more to do than time, and Flink keeps the bounds.
        """
        while small and (waiting := self._waiting()):
            now = time.monotonic()
            self._since = self._since or now
            if now > self._since + LONGEST_S:
                for each in waiting:
                    each.give_up()
            elif now > deadline:
                return False
            else:
                time.sleep(PAUSE_S)
        self._since = None
        return True

    def _waiting(self) -> list[Hop]:
        hops = list(_HOPS.get(self._job, {}).values())
        return [each for each in hops if each.here and each.sent > each.done]
