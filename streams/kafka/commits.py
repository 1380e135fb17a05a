"""Positions on their way to the broker: the newest only, and one request at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from streams.kafka.library import Failure

RETRY_S = 0.1
"""How long after a commit that failed it is tried again."""


class Commits:
    """Sees to it that the positions last wanted are committed, however often that takes.

    `send` begins a commit and may fail; `failed` is told of every failure.
    """

    def __init__(
        self, send: Callable[[Sequence[int]], None], failed: Callable[[Any], None]
    ) -> None:
        self._send, self._failed = send, failed
        self._wanted: Sequence[int] | None = None
        self._sent: Sequence[int] | None = None
        self._due = 0.0

    @property
    def pending(self) -> bool:
        """Whether what is wanted is not committed."""
        return self._wanted is not None

    def want(self, positions: Sequence[int]) -> None:
        """These are to be committed, in place of any before."""
        self._wanted = positions
        self.serve()

    def serve(self) -> None:
        """Send what is wanted, if nothing is under way."""
        if self._wanted is None or self._sent is not None or time.monotonic() < self._due:
            return
        self._sent = self._wanted
        try:
            self._send(self._wanted)
        except Failure as failure:
            self.heard(failure.args[0], ())

    def heard(self, error: Any, partitions: Sequence[Any]) -> None:
        """What became of the commit that is under way."""
        errors = (each for each in (error, *(one.error for one in partitions)) if each is not None)
        failed = next(errors, None)
        if failed is not None:
            self._failed(failed)
            self._due = time.monotonic() + RETRY_S
        elif self._wanted is self._sent:
            self._wanted = None
        self._sent = None
