"""Where an open-ended command stands: one line that changes on a terminal, else one now and then.

On stderr.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

OFTEN, SELDOM = 0.25, 5.0
"""Seconds between two looks, on a terminal and elsewhere."""


class StatusLine:
    """Asks what to say when it is time to, so that it may be called as often as one likes.

    with StatusLine() as line:
        line.say(lambda: f"{sent:,} sent")
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._every = OFTEN if self._console.is_terminal else SELDOM
        self._said = time.monotonic()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def say(self, what: Callable[[], str]) -> None:
        """Show what this gives, if the last was shown long enough ago."""
        now = time.monotonic()
        if now - self._said < self._every:
            return
        self._said = now
        if self._console.is_terminal:
            text = Text(what(), no_wrap=True, overflow="ellipsis")
            self._live.update(text, refresh=True)
        else:
            self._console.print(what(), highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
