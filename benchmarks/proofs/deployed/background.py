"""Work that goes on in threads beside; what goes wrong in one is raised where it is looked at."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Self

THREADS = 4


class Work:
    """Something that is done until it is told to stop, or until it is done."""

    def __init__(self, pool: ThreadPoolExecutor, do: Callable[[Event], None]) -> None:
        self._stop = Event()
        self._future = pool.submit(do, self._stop)

    def ask(self) -> None:
        """Tell it to stop."""
        self._stop.set()

    def end(self) -> None:
        """Tell it to stop, and wait for that."""
        self.ask()
        self._future.result()

    def done(self) -> bool:
        """Whether it has ended; raises what it ended of."""
        if self._future.done():
            self._future.result()
        return self._future.done()


class Background:
    """All such work of a round, stopped with the block."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS)
        self._works: list[Work] = []

    def begin(self, do: Callable[[Event], None]) -> Work:
        """Have it done from now on."""
        self._works.append(Work(self._pool, do))
        return self._works[-1]

    def look(self) -> None:
        """Raise what any of it ended of."""
        for work in self._works:
            work.done()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for work in self._works:
            work.ask()
        self._pool.shutdown()
