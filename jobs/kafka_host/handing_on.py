"""What is made of a batch is handed on, of a large one while the next is read and scored."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

LARGE = 1024
"""Records of a batch; below, to go to another thread and back takes longer than it gains."""


class HandingOn:
    """Works in turn, never two at a time: in a thread where they are large and `beside` is set.

    What is begun is read by nobody else until `settle`, and an error in it is raised by the next
    call.
    """

    def __init__(self, *, beside: bool) -> None:
        self._thread = ThreadPoolExecutor(1, "handing-on") if beside else None
        self._under_way: Future[None] | None = None

    def begin(self, size: int, work: Callable[[], None]) -> None:
        """Do this after what was begun before."""
        self.settle()
        if self._thread is None or size < LARGE:
            work()
        else:
            self._under_way = self._thread.submit(work)

    def heed(self) -> None:
        """Raise what went wrong in what was begun, as far as that has come."""
        if self._under_way is not None and self._under_way.done():
            self.settle()

    def settle(self) -> None:
        """Wait for what was begun."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()

    def close(self) -> None:
        """Let it come to its end, whatever that is."""
        if self._thread is not None:
            self._thread.shutdown()
