"""Driving a job until it is told to stop, with its figures on a port and in the log."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Protocol

from jobs.monitoring.monitor import Monitor
from jobs.monitoring.serving import Serving

log = logging.getLogger("headrace")
WAIT_SECONDS = 0.1
SAY_SECONDS = 10.0
COLLECT_SECONDS = 1.0
_PARENT_DEATH, _TIMER_SLACK = 1, 29


def wake_in_time() -> None:
    """Have this thread woken when it asked to be, and not up to 50 us later: Linux's default."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_TIMER_SLACK, 1)


class Job(Protocol):
    """What is driven: a score or a learn job."""

    monitor: Monitor

    def step(self, timeout: float) -> int:
        """One turn: how much was done; waits up to `timeout` seconds for something to do."""

    @property
    def rest(self) -> float:
        """Seconds that it leaves to others before its next turn."""

    def said(self) -> str:
        """Where it stands, in a line."""

    def close(self) -> None:
        """Commit and let go."""

    def release(self) -> None:
        """Let go without a commit; once more does no harm."""


class Stop:
    """Whether an end was asked for, by SIGTERM or Ctrl-C. The second Ctrl-C ends at once."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, number: int, _frame: FrameType | None) -> None:
        """Ask for an end."""
        self.asked = True
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)


@contextmanager
def stopping() -> Iterator[Stop]:
    """Listen for SIGTERM and Ctrl-C meanwhile. For the main thread."""
    stop = Stop()
    before = {each: signal.signal(each, stop.ask) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start_log(name: str, *libraries: str) -> None:
    """Log to stderr: time of day, job, message; and what these libraries warn of."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s {name}: %(message)s", "%H:%M:%S"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    for library in libraries:
        logging.getLogger(library).handlers[:] = [handler]


def end_with_parent(parent: int) -> None:
    """Be told to end when the process that started this one is gone, whenever that was."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PARENT_DEATH, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def drive(
    job: Job, stop: Stop, host: str, port: int, beside: Callable[[], None] = lambda: None
) -> None:
    """Step until asked to stop, then close; `beside` is called now and then.

    After an error the job is released, with nothing committed that may be half done.
    Memory that is there when it begins is set aside from garbage collection, and the rest is
    collected when there is nothing to do, so that no event waits for it.
    """
    with ExitStack() as stack:
        stack.callback(job.release)
        if port:
            where = stack.enter_context(Serving(job.monitor, port, host)).port
            log.info("http://%s:%d has /metrics, /healthz and /readyz", host, where)
        wake_in_time()
        gc.collect()
        gc.freeze()
        gc.disable()
        said = collected = time.monotonic()
        last = ""
        try:
            while not stop.asked:
                done = job.step(WAIT_SECONDS)
                if job.rest:
                    time.sleep(job.rest)
                now = time.monotonic()
                if now - collected >= COLLECT_SECONDS and (
                    not done or now - collected >= SAY_SECONDS
                ):
                    gc.collect(1)
                    collected = now
                    beside()
                if now - said >= SAY_SECONDS:
                    line = job.said()
                    if line != last:
                        log.info("%s", line)
                    said, last = now, line
        finally:
            gc.enable()
            gc.unfreeze()
        job.close()
        log.info("%s; committed, stopped", job.said())
