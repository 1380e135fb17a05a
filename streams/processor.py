"""The processor, where several want it."""

from __future__ import annotations

import os


def let_others() -> None:
    """Let somebody else have it who waits for it; where nobody does, that takes a microsecond.

    On Linux who wakes up when it has had more than its share waits for the next tick otherwise,
    some milliseconds, however nice the process that runs.
    """
    if hasattr(os, "sched_yield"):
        os.sched_yield()
