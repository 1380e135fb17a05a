"""The whole journal of a job that drops what it no longer needs, by hard links to its files."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from threading import Event

from streams.journal import Entry, Journal

LOOK_SECONDS = 0.05
"""Time between two looks; a file is there for two snapshots at least."""


class Archive:
    """Keeps what `journal` holds in `folder`; a link sees what is appended to its file later."""

    def __init__(self, journal: Path, folder: Path) -> None:
        self._journal, self._folder = journal, folder
        self._known: set[int] = set()
        folder.mkdir(parents=True)

    def run(self, stop: Event) -> None:
        """Look after new files until told to stop."""
        while not stop.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        for path in self._journal.glob("*.journal"):
            with suppress(FileNotFoundError):
                inode = path.stat().st_ino
                if inode not in self._known:
                    # One without a whole entry is removed, and then made anew by the same name.
                    os.link(path, self._folder / f"{path.stem}-{inode}.journal")
                    self._known.add(inode)

    def entries(self) -> list[Entry]:
        """Every entry there ever was; for after the job has ended. StateError if one is missing."""
        self._look()
        return list(Journal(self._folder).entries(after=0))
