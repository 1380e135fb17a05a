"""A job that is started, stepped and stopped, and that crashes; its folder stays as it is."""

from __future__ import annotations

import errno
import gc
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from benchmarks.proofs.simulated.faults import SeededFaults
from benchmarks.proofs.simulated.files import Files, running
from streams.broker import Input
from streams.errors import OutputError, StateError
from streams.memory import Cluster, Crash, MemoryBroker

Say = Callable[[str], None]
KNOWN = ("transaction took too long", os.strerror(errno.ENOSPC))
"""Of errors after which a process is to be started again."""


class Job(Protocol):
    """What is scheduled."""

    inputs: tuple[Input, ...]

    def step(self, timeout: float) -> int:
        """Do a little; how much."""

    def close(self) -> None:
        """End well."""


class Actor:
    """One job through all its processes, each beginning where the one before it ended."""

    def __init__(
        self,
        name: str,
        make: Callable[[MemoryBroker], Job],
        cluster: Cluster,
        faults: SeededFaults,
        folder: Path,
        say: Say,
    ) -> None:
        self.name = name
        self.starts = 0
        self._make, self._cluster, self._faults = make, cluster, faults
        self._folder, self._say = folder / name, say
        self.inputs: tuple[Input, ...] = ()
        """What it read when it last began."""
        self._job: Job | None = None
        self._process: MemoryBroker | None = None
        self._files: Files | None = None

    @property
    def running(self) -> bool:
        """Whether it has begun and not ended."""
        return self._job is not None

    def step(self) -> bool:
        """Start if need be, else do a step; whether anything was done."""
        if self._job is not None:
            done: list[int] = []
            self._alive(lambda job: done.append(job.step(0.0)))
            return any(done)
        self.starts += 1
        self._say(f"{self.name} starts")
        self._process = process = MemoryBroker(self._cluster, self.name)
        self._files = Files(process, self._folder, self._faults)
        self._alive(lambda _: self._begin(process))
        return True

    def _begin(self, process: MemoryBroker) -> None:
        self._job = self._make(process)
        self.inputs = self._job.inputs

    def stop(self) -> None:
        """End as by SIGTERM."""
        if self._job is not None:
            self._say(f"{self.name} is stopped")
            self._alive(lambda job: job.close())
            if self._job is not None:
                self._end()

    def kill(self) -> None:
        """End between two steps."""
        if self._process is not None:
            self._say(f"{self.name} is killed")
            self._end()

    def _alive(self, act: Callable[[Any], object]) -> None:
        """Let the process do something, which may be the last thing it does."""
        assert self._files is not None
        try:
            with running(self._files):
                act(self._job)
        except Crash as crash:
            self._end(crash)
        except (StateError, OutputError) as error:
            if not any(known in str(error) for known in KNOWN):
                raise
            self._say(f"{self.name} gives up: {error}")
            self._end(error)

    def _end(self, error: BaseException | None = None) -> None:
        """Give back what the kernel would: memory, locks, open files."""
        assert self._process is not None
        assert self._files is not None
        self._process.crash()
        with running(self._files):
            while error is not None:
                traceback.clear_frames(error.__traceback__)
                error = error.__context__
            self._job = None
            gc.collect()
        self._files.close_all()
        self._process = self._files = None
