"""The score job as one Faust worker, as something to be measured."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from jobs.config import Settings
from jobs.load.generator import Target
from jobs.load.stand import running
from streams.topics import PREDICTIONS, TRANSACTIONS


@contextmanager
def own_faust(
    folder: Path, settings: Settings, processes: Mapping[str, int], name: str
) -> Iterator[Target]:
    """A worker with its state in the folder; it ends with the context."""
    command = [sys.executable, "-m", "jobs.cli", "faust", "worker"]
    with running(folder, "faust", command, settings.environment()) as process:
        yield Target(
            name=name,
            events=settings.topic(TRANSACTIONS),
            predictions=settings.topic(PREDICTIONS),
            processes={**processes, "worker": process.pid or 0},
        )
