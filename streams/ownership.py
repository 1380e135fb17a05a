"""One process owns a state folder; a second one is told who does."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from streams.errors import StateError


@contextmanager
def own(folder: Path) -> Iterator[None]:
    """Own the folder, made if absent, until the block ends or the process does, however it ends.

    The kernel holds the lock on `folder/lock`, so none is left behind by a kill; children forked
    without exec share it. The file says who took it. Raises StateError while another owns it.
    """
    path = folder / "lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StateError(
            f"{folder}: wanted a folder to keep state in, got {error.strerror}; "
            "name one that can be written"
        ) from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(file, 200, 0).decode(errors="replace").strip() or "another process"
            raise StateError(
                f"{folder}: wanted the state folder alone, but {owner} owns it; "
                "stop that process or name another folder"
            ) from error
        os.ftruncate(file, 0)
        os.pwrite(file, f"pid {os.getpid()} since {datetime.now(UTC):%FT%TZ}\n".encode(), 0)
        yield
    finally:
        os.close(file)
