"""File operations of the running process, each of which may be its last.

Opening, renaming, cutting, removing and making are seen by Python's audit hook; writes, which may
be cut short, by a wrapper. A process that has ended does nothing more on its way out.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.proofs.simulated.faults import SeededFaults
from streams.memory import Crash, MemoryBroker

SEEN = frozenset(
    {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}
)
PLAIN = {name: getattr(os, name) for name in ("write", "open", "close", "posix_fallocate")}
_WRITE, _CLOSE, _OPEN, _ALLOCATE = os.write, os.close, os.open, os.posix_fallocate


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
        """`os.write`, cut short where the process ends, or the disk is full."""
        if self._process.dead:
            raise Crash
        try:
            self._reach("write")
        except Crash:
            _WRITE(file, content[: self._faults.part(len(content))])
            raise
        if not self._faults.full:
            return _WRITE(file, content)
        if not (fits := self._faults.part(len(content) - 1)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return _WRITE(file, content[:fits])

    def posix_fallocate(self, file: int, start: int, count: int) -> None:
        """`os.posix_fallocate`."""
        if self._faults.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        _ALLOCATE(file, start, count)

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


_running: list[Files] = []
"""Whose turn it is; nobody's between two steps."""


@contextmanager
def running(files: Files) -> Iterator[None]:
    """What happens inside is done by this process."""
    _running.append(files)
    try:
        yield
    finally:
        _running.pop()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _running and event in SEEN:
        _running[-1].audit(event, arguments)


_audited: list[bool] = []


@contextmanager
def watched() -> Iterator[None]:
    """Let file operations be those of whoever is running."""
    if not _audited:  # a hook can never be taken away again
        sys.addaudithook(_audit)
        _audited.append(True)
    with ExitStack() as stack:
        for name, plain in PLAIN.items():
            stack.enter_context(patch.object(os, name, _of_running(name, plain)))
        yield


def _of_running(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    """An operation as who is running does it, or as it is."""

    def do(*arguments: Any, **named: Any) -> Any:
        own = getattr(_running[-1], name) if _running else plain
        return own(*arguments, **named)

    return do
