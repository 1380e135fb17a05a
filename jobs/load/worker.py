"""A process that is there for one kind of work and sleeps between two pieces of it."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

from streams.errors import HeadraceError, ServiceError

Order = TypeVar("Order")
Answer = TypeVar("Answer")
Argument = TypeVar("Argument")
END_S = 5.0


class Worker(Generic[Order, Answer]):
    """Runs `make(argument)` in a process of its own, and there calls what it gave with each order.

    Errors of ours are raised again here; ServiceError when the process has ended on its own.
    """

    def __init__(
        self, make: Callable[[Argument], Callable[[Order], Answer]], argument: Argument
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(make, argument, theirs), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid or 0

    def begin(self, order: Order) -> None:
        """Hand it an order, without waiting for it to be done."""
        self._pipe.send(order)

    def answer(self) -> Answer:
        """What came of the order handed to it."""
        try:
            answer: Answer | HeadraceError = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join(END_S)
            raise ServiceError(
                f"a process of the load generator ended with status {self._process.exitcode}; "
                "what it said is above"
            ) from None
        if isinstance(answer, HeadraceError):
            raise answer
        return answer

    def close(self) -> None:
        """End the process, whatever it is at."""
        self._process.terminate()
        self._process.join()
        self._pipe.close()


def _work(
    make: Callable[[Argument], Callable[[Order], Answer]], argument: Argument, pipe: Connection
) -> None:
    """Answer orders until whoever gives them is gone; the collector does not run meanwhile."""
    with suppress(EOFError, KeyboardInterrupt):
        try:
            do = make(argument)
            gc.collect()
            gc.freeze()
            gc.disable()
            while True:
                pipe.send(do(pipe.recv()))
        except HeadraceError as error:
            pipe.send(error)
