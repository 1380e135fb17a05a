"""What the operating system says of this process, under the names that every client uses."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

from jobs.monitoring.exposition import Family

_SELF = Path("/proc/self")


def process_families() -> list[Family]:
    """Memory, CPU time, open files and start of this process; without /proc, what is known."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024
    resident, cpu = _resident(), usage.ru_utime + usage.ru_stime
    peak = max(float(usage.ru_maxrss * unit), resident or 0.0)  # the kernel's peak comes late
    return [
        _gauge("process_resident_memory_bytes", "Resident memory.", resident),
        _gauge("headrace_peak_memory_bytes", "The most memory that was resident so far.", peak),
        Family("process_cpu_seconds_total", "counter", "CPU time, all threads.", [({}, cpu)]),
        _gauge("process_open_fds", "Open files and sockets.", _open_files()),
        _gauge("process_start_time_seconds", "Start of the process, Unix time.", _began()),
    ]


def _gauge(name: str, text: str, value: float | None) -> Family:
    return Family(name, "gauge", text, [] if value is None else [({}, value)])


def _resident() -> float | None:
    try:
        pages = int((_SELF / "statm").read_bytes().split()[1])
    except OSError:
        return None
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def _open_files() -> float | None:
    try:
        return float(len(list((_SELF / "fd").iterdir())))
    except OSError:
        return None


def _began() -> float | None:
    """From the ticks since boot, the 20th field after the command's closing bracket."""
    try:
        ticks = int((_SELF / "stat").read_bytes().rpartition(b")")[2].split()[19])
    except OSError:
        return None
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return round(time.time() - age, 2)
