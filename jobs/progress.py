"""How far a long command is: a bar on a terminal, a line now and then elsewhere. On stderr."""

from __future__ import annotations

import time
from typing import Self

from rich import progress
from rich.console import Console

EVERY = 5.0
"""Seconds between lines where there is no terminal."""


class Progress:
    """Shows rows done, rows a second and the time left.

    with Progress("replay") as progress:
        progress.show(rows=8192, share=0.01)
    """

    def __init__(self, title: str, console: Console | None = None, every: float = EVERY) -> None:
        self._title = title
        self._console = console or Console(stderr=True)
        self._every = every
        self._began = self._said = time.monotonic()
        self._first: tuple[int, float] | None = None
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TextColumn("{task.fields[said]}"),
            progress.TimeRemainingColumn(compact=True),
            progress.TextColumn("left"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=1.0, said="")

    def show(self, rows: int, share: float) -> None:
        """Say that so many rows are done, which is this share of all, from 0 to 1."""
        now = time.monotonic()
        if not rows:
            return
        if self._first is None:
            self._first, self._began = (rows, share), now
        rate = (rows - self._first[0]) / max(now - self._began, 1e-9)
        said = f"{rows:,} rows, {rate:,.0f} rows/s"
        if self._console.is_terminal:
            self._bar.update(self._task, completed=share, said=said)
        elif now - self._said >= self._every and share > self._first[1]:
            self._said = now
            left = (now - self._began) * (1 - share) / (share - self._first[1])
            self._console.print(f"{self._title}: {share:.0%}, {said}, {left:,.0f} s left")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
