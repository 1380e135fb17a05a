"""What the operators of a job on Flink have in common: where they run, and what they may."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pyflink.common import Row
from pyflink.datastream import KeyedProcessFunction, OutputTag

from jobs.definition import Pipeline
from jobs.flink_host.parcel import Address, nothing_but, parcels
from jobs.flink_host.plan import Plan
from jobs.flink_host.records import RECORD
from jobs.flink_host.states import Lanes
from jobs.flink_host.thread_state import adopt
from jobs.flink_host.travel import travel
from jobs.flink_host.underway import hop
from jobs.lanes.lanes import Int64s, first_lane
from jobs.lanes.rows import Admitted, Arrivals
from jobs.lanes.store import Store
from jobs.load_pipeline import load_pipeline
from jobs.release import RELEASE
from jobs.topic_records import letter_records
from streams.errors import ConfigError, DeadLetter, HeadraceError

LETTERS_TAG = OutputTag("dead-letters", RECORD)
_OPEN: dict[tuple[str, str, str, int], Function] = {}
"""The functions of this process by their place. Flink calls `close` where the input ends, and not
when a job is cancelled, stopped or begun again: then the next of the place closes the last."""
SWITCH_S = 0.0001
"""How long a thread of Python waits for another: the operators of a process share one lock."""
COLLECT_S = 5.0


class Function(KeyedProcessFunction):  # type: ignore[misc]
    """What all have in common."""

    name = ""
    place = 0
    """Its place among the operators, in the order in which rows come to them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def open(self, runtime_context: Any) -> None:
        adopt()
        # What is collected in another operator's name may ask for the lock it holds: see `adopt`.
        gc.disable()
        sys.setswitchinterval(SWITCH_S)
        self.context = runtime_context
        # Flink 2 has moved it, and its Python still asks for it at the old place.
        told = runtime_context._runtime_context  # noqa: SLF001
        self.task = int(told.getTaskInfo().getIndexOfThisSubtask())
        # A cluster has one job of a name at a time: whoever has it takes the place of the last.
        self.job = str(told.getJobInfo().getJobName())
        place = self.job, type(self).__name__, self.name, self.task
        if left := _OPEN.pop(place, None):
            with suppress(HeadraceError):
                left.release()
        _OPEN[place] = self
        tasks = range(self.plan.tasks)
        self.arriving = [hop(self.job, self.place, each, self.task) for each in tasks]
        self.onward = [hop(self.job, self.place + 1, self.task, each) for each in tasks]
        for each in self.arriving:
            each.done = 0
        for each in self.onward:
            each.sent = 0
            each.rows.clear()
        self.pipeline: Pipeline = load_pipeline(self.plan.settings.pipeline)
        self.check()
        self.lanes = Lanes(runtime_context, self.plan.keys)
        self.entities = self.pipeline.plan().entities
        keys = self.pipeline.event.keys
        self.numbers = [keys.index(each.key) for each in self.entities]

    def close(self) -> None:
        adopt()
        for place in [place for place, each in _OPEN.items() if each is self]:
            del _OPEN[place]
            self.release()

    def release(self) -> None:
        """Let go of what holds a thread, a connection or a file."""

    def check(self) -> None:
        """Refuse to run in a way that the job was not made for. Raises ConfigError."""
        if not hasattr(self.context._keyed_state_backend, "_keyed_state_backend"):  # noqa: SLF001
            raise ConfigError(
                "wanted Flink's Python in thread mode, got a process of its own for this operator: "
                "is python.execution-mode `thread` on the cluster, and pemja installed there?"
            )
        if self.plan.release != RELEASE:
            raise ConfigError(
                f"wanted release {self.plan.release}, which the job was submitted with, got "
                f"{RELEASE} in this TaskManager: install the same code and libraries there and "
                "restart it, for it imports them once (`headrace down flink`, `headrace up flink`)"
            )
        if self.plan.definition != self.pipeline.definition:
            raise ConfigError(
                f"{self.plan.settings.pipeline}: wanted the pipeline of definition "
                f"{self.plan.definition}, which the job was submitted with, got "
                f"{self.pipeline.definition} here: copy the file to this machine"
            )

    @property
    def own(self) -> range:
        """The lanes of this task."""
        lanes, tasks = self.plan.lanes, self.plan.tasks
        return range(*(first_lane(each, lanes, tasks) for each in (self.task, self.task + 1)))

    def travel(self, **stores: Store) -> None:
        """Bring in or write out these states of the task's lanes, if the job is to."""
        travel(self.plan, self.context, self.task, self.lanes, stores)

    def letters(self, letters: list[DeadLetter]) -> Iterator[Any]:
        """Dead letters, beside the rows."""
        for key, value in zip(*letter_records(letters), strict=True):
            yield LETTERS_TAG, Row(key, value)

    def parcels(
        self, rows: Arrivals | Admitted, lanes: Int64s, reader: int, time_us: int
    ) -> Iterator[Row]:
        """Rows on their way to the tasks that own these lanes."""
        if self.plan.together:
            if len(rows):
                self.onward[0].sent += 1
                self.onward[0].rows.append(rows)
                yield self.plan.addressed(nothing_but(0, reader, time_us, self.task))
            return
        head = Address(0, reader, self.task, time_us)
        for task, each in parcels(rows, lanes, self.plan.lanes, self.plan.tasks, head):
            self.onward[task].sent += 1
            yield self.plan.addressed(each)


class Turning(Function):
    """What is begun by a seed and runs by timers of its own."""

    def open(self, runtime_context: Any) -> None:
        super().open(runtime_context)
        self.collected = time.monotonic()

    def process_element(self, value: bytes, ctx: Any) -> Iterator[Any]:
        """A seed: begin."""
        self.again(ctx)
        yield from ()

    def again(self, ctx: Any, later_ms: int = 0) -> None:
        """Take another turn, after whatever else waits for this task."""
        timers = ctx.timer_service()
        # Of a moment that is not past Flink waits for the end of its millisecond.
        timers.register_processing_time_timer(timers.current_processing_time() - 1 + later_ms)

    def collect(self, *, idle: bool) -> None:
        """Collect the garbage of this process now and then, best when there is nothing to do."""
        now = time.monotonic()
        if now - self.collected > (COLLECT_S if idle else 10 * COLLECT_S):
            self.collected = now
            gc.collect(1)
