"""What processes use, as the kernel counts it: seconds of CPU, bytes of memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """What a process and all it has started have used so far."""

    cpu_seconds: float
    rss_bytes: int
    """Memory held now."""


def usage(pid: int) -> Usage:
    """Usage of a process with its descendants; nothing where it has ended. Linux only.

    >>> usage(os.getpid()).rss_bytes > 1 << 20
    True
    """
    parts = [_own(each) for each in family(pid)]
    return Usage(sum(each.cpu_seconds for each in parts), sum(each.rss_bytes for each in parts))


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for each in found:
        found += _children(each)
    return found


def _children(pid: int) -> Iterable[int]:
    try:
        lists = list(Path(f"/proc/{pid}/task").glob("*/children"))
        return [int(child) for path in lists for child in path.read_text("ascii").split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _own(pid: int) -> Usage:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return Usage(0.0, 0)
    # The name, in parentheses, may hold blanks: the state comes after it.
    fields = stat.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return Usage(ticks / TICKS, int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))
