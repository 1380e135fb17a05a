"""Files that appear under their name whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from streams.errors import OutputError


def write_whole(path: Path, pieces: Iterable[bytes | memoryview], *, fsync: bool = False) -> None:
    """Write the pieces one after the other to `path`, replacing what is there in one step.

    With `fsync` the file is on the disk on return, else in the page cache. Raises OutputError, the
    earlier file untouched, when it cannot be written.

    >>> path = Path(getfixture("tmp_path")) / "metrics.json"
    >>> write_whole(path, [b"{", b"}"])
    >>> path.read_text()
    '{}'
    """
    partial = path.with_name(path.name + ".tmp")
    wanted = 0
    try:
        file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            for piece in pieces:
                wanted += len(piece)
                _write(file, piece)
            if fsync:
                os.fsync(file)
        finally:
            os.close(file)
        partial.replace(path)
        if fsync:
            sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(
            f"{path}: wanted {wanted:,} bytes or more on disk, got {error.strerror}; free space "
            "there or name another folder, then run again"
        ) from error


def sync_folder(folder: Path) -> None:
    """Return when the names in the folder are on the disk."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _write(file: int, piece: bytes | memoryview) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(file, rest) :]
