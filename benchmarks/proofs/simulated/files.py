"""File operations of the running process, each of which may be its last.

Opening, renaming, cutting, removing and making are seen by Python's audit hook; writes, which may
be cut short, by a wrapper. A process that has ended does nothing more on its way out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.proofs.simulated.faults import SeededFaults
from streams.memory import Crash, MemoryBroker

SEEN = frozenset(
    {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}
)
_WRITE, _CLOSE, _OPEN = os.write, os.close, os.open


class Files:
    """The files of one process in its folder: what it opened, and where it ends."""

    def __init__(self, process: MemoryBroker, folder: Path, faults: SeededFaults) -> None:
        self._process = process
        self._folder = os.fspath(folder)
        self._faults = faults
        self._opened: set[int] = set()

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """What is about to be done to a file."""
        at = arguments[0]
        ours = isinstance(at, int) or os.fspath(at).startswith(self._folder)
        if ours:
            self._reach(event)

    def write(self, file: int, content: bytes | memoryview) -> int:
        """`os.write`, cut short where the process ends."""
        try:
            self._reach("write")
        except Crash:
            _WRITE(file, content[: self._faults.part(len(content))])
            raise
        return _WRITE(file, content)

    def open(self, *arguments: Any, **named: Any) -> int:
        """`os.open`, noted."""
        file = _OPEN(*arguments, **named)
        self._opened.add(file)
        return file

    def close(self, file: int) -> None:
        """`os.close`, noted."""
        self._opened.discard(file)
        _CLOSE(file)

    def close_all(self) -> None:
        """Close what the process has left open, as the kernel does when it ends."""
        for file in self._opened:
            _CLOSE(file)
        self._opened.clear()

    def _reach(self, operation: str) -> None:
        if self._process.dead:
            raise Crash
        try:
            self._faults.reach(self._process.name, operation)
        except Crash:
            self._process.crash()
            raise


_running: Files | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in SEEN and _running is not None:
        _running.audit(event, arguments)


_watch: list[Callable[[], None]] = [lambda: sys.addaudithook(_audit)]


@contextmanager
def running(files: Files) -> Iterator[None]:
    """What happens inside is done by this process."""
    global _running  # noqa: PLW0603  a hook cannot be taken away again
    while _watch:
        _watch.pop()()
    _running = files
    os.write, os.open, os.close = files.write, files.open, files.close  # type: ignore[assignment]
    try:
        yield
    finally:
        os.write, os.open, os.close = _WRITE, _OPEN, _CLOSE
        _running = None
