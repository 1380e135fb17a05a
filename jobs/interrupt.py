"""Ctrl-C as a request: a run ends between two batches, with all it wrote whole."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class Interrupt:
    """Whether an end has been asked for."""

    asked: bool = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """The first Ctrl-C only asks; a second works as it always did. For the main thread."""
    interrupt = Interrupt()

    def ask(_number: int, _frame: FrameType | None) -> None:
        interrupt.asked = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
