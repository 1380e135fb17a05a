"""State that comes to a job on Flink from elsewhere, or leaves it: a file a store and lane.

Both are done when an operator opens, before it sees a row. What comes is put into a lane's stores
once: from then on it is part of the job's own checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from jobs.flink_host.plan import Plan
from jobs.flink_host.states import FlinkValue, Lanes
from jobs.lanes.described import records_of
from jobs.lanes.entries import file_of, read_entries, write_entries
from jobs.lanes.lanes import first_lane
from jobs.lanes.store import Store

_AT_ONCE = 1000


class OneValue:
    """A value as a store of one entry, under the empty key."""

    def __init__(self, value: FlinkValue) -> None:
        self._value = value

    def get(self, key: bytes) -> bytes | None:
        return self._value.get()

    def put_all(self, entries: Mapping[bytes, bytes]) -> None:
        for value in entries.values():
            self._value.put(value)

    def remove(self, key: bytes) -> None:
        raise NotImplementedError(f"a value stays: {key!r}")

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        value = self._value.get()
        if value is not None:
            yield b"", value


def travel(plan: Plan, context: Any, task: int, lanes: Lanes, stores: Mapping[str, Store]) -> None:
    """Bring in or write out the stores of the lanes that a task owns, as the plan has it."""
    if not (plan.brought or plan.leaving):
        return
    brought = FlinkValue(context, "brought")
    first, end = (first_lane(each, plan.lanes, plan.tasks) for each in (task, task + 1))
    for lane in range(first, end):
        lanes.enter(lane)
        for name, store in stores.items():
            if plan.leaving:
                write_entries(file_of(Path(plan.leaving), name, lane), records_of(store))
            elif brought.get() is None:
                entries = read_entries(file_of(Path(plan.brought), name, lane))
                while some := dict(islice(entries, _AT_ONCE)):
                    store.put_all(some)
        if plan.brought:
            brought.put(plan.brought.encode())
