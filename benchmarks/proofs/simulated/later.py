"""An executor without a thread: what is submitted is done later, when a seed says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.proofs.simulated.faults import SeededFaults


class Task:
    """Something to be done, when its result is asked for at the latest."""

    def __init__(self, faults: SeededFaults, work: Callable[[], Any]) -> None:
        self._faults = faults
        self._work: Callable[[], Any] | None = work
        self._outcome: Any = None
        self._error: Exception | None = None

    def done(self) -> bool:
        """Whether it is done by now."""
        if self._work is not None and self._faults.part(1):
            self._do()
        return self._work is None

    def result(self) -> Any:
        """What came of it."""
        self._do()
        if self._error is not None:
            raise self._error
        return self._outcome

    def _do(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            try:
                self._outcome = work()
            except Exception as error:  # noqa: BLE001  it is raised where the result is asked for
                self._error = error
                each: BaseException | None = error
                while each is not None:  # the frames would keep alive what has ended
                    each = each.with_traceback(None).__context__


class Later:
    """Takes the place of a `ThreadPoolExecutor` of one thread."""

    def __init__(self, faults: SeededFaults) -> None:
        self._faults = faults
        self._tasks: list[Task] = []

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Task:
        """Have it done, after what was submitted before."""
        for task in self._tasks:
            task.result()
        self._tasks = [Task(self._faults, lambda: function(*arguments))]
        return self._tasks[0]

    def shutdown(self) -> None:
        """Do what is left."""
        for task in self._tasks:
            task.result()
