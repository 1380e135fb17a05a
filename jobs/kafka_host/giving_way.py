"""A process that gives way to whoever else wants the processor, at once."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from contextlib import suppress
from pathlib import Path

LOWEST = 19
SLICE_NS = 100_000_000
AUTOGROUP = Path("/proc/self/autogroup")
_SET_ATTRIBUTES = {"x86_64": 314, "aarch64": 274}
"""The system call `sched_setattr`, which no library has a name for."""
_BATCH = 3
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")


def give_way() -> None:
    """Run when nobody else wants to, and stop as soon as somebody does.

    To be nice decides who gets how much, not who is next: on Linux a process that runs may finish
    its turn of some milliseconds, and an event waits as long. Since 6.12 a process may ask for
    long turns, and then those with shorter ones go before it. Being idle comes on top: whoever
    wakes up takes a processor that only such a process has for a free one. The system shares out
    the processor among sessions first, where it has groups for them, so a session that is this
    process's own is made nice too; that of a terminal is left as it is.

    It stays on one processor: else it moves to whichever has nothing to do for a moment, and is in
    the way there when that moment is over.
    """
    call = _SET_ATTRIBUTES.get(platform.machine()) if platform.system() == "Linux" else None
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, _BATCH, 0, LOWEST, 0, SLICE_NS, 0, 0)
    if call is None or ctypes.CDLL(None).syscall(call, 0, attributes, 0):
        os.nice(LOWEST)
    with suppress(OSError, AttributeError):  # not permitted, or another system
        # The length of turns stays what it was.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with suppress(OSError, AttributeError):
        here = sorted(os.sched_getaffinity(0))
        # Several such processes are spread over the upper half.
        os.sched_setaffinity(0, {here[-1 - os.getpid() % max(len(here) // 2, 1)]})
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # without groups, or not permitted: then it is nice, at least
            AUTOGROUP.write_text(str(LOWEST), encoding="ascii")
