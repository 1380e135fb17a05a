"""The processor, where several want it."""

from __future__ import annotations

import os
import sys
import time
from functools import cache

NAP_SECONDS, LONGEST_SECONDS = 1e-4, 1e-3
_FEW = 128
"""Bytes that hold the line of /proc/loadavg."""
_PROCESSORS = os.cpu_count() or 1
_woke = [0.0]
"""When this process last went on."""


def let_others() -> None:
    """Let somebody else have it who waits for it; where nobody does, that takes microseconds.

    On Linux who wakes up when it has had more than its share waits for the next tick otherwise,
    some milliseconds, however nice the process that runs. So does who waits for another processor:
    one that has nothing to do would fetch it here, one that is at work does not, not even where
    that work is idle to the scheduler. So who is idle sleeps while somebody waits, for a moment,
    and for no longer than it has been at work since it last did.
    """
    if hasattr(os, "sched_yield"):
        os.sched_yield()
    if sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_IDLE:
        now = time.monotonic()
        until = now + min(now - _woke[0], LONGEST_SECONDS)
        while time.monotonic() < until and crowded():
            time.sleep(NAP_SECONDS)
        _woke[0] = time.monotonic()


def crowded() -> bool:
    """Whether more threads would run than there are processors; False where Linux does not say."""
    try:
        load = os.pread(_load(), _FEW, 0)
    except OSError:
        return False
    return int(load.split()[3].partition(b"/")[0]) > _PROCESSORS


@cache
def _load() -> int:
    return os.open("/proc/loadavg", os.O_RDONLY)
