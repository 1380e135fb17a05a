"""Arrival order in a task: rows are put back into the order in which their reader took them.

On their way rows pass through the lanes of their ids, and one task may be faster than another. A
reader counts the events it takes for each task, and marks the last of a batch; here they wait for
the whole of their batch: a part of it costs as much as all. Nothing of this needs to be kept: when
a checkpoint is complete, every event before it has come, and none waits.
"""

from __future__ import annotations

import numpy as np

from jobs.lanes.rows import Admitted, Int64s


class Turns:
    """The rows of a task of entity `entity` whose batch has not come whole. Labels never wait."""

    def __init__(self, entity: int) -> None:
        self._entity = entity
        self._next: dict[int, int] = {}
        self._waiting: dict[int, list[Admitted]] = {}

    def push(self, reader: int, rows: Admitted) -> Admitted | None:
        """The batches of a reader that are whole now that these rows are here, in its order."""
        turn, next_ = rows.turn[:, self._entity], self._next.get(reader, 0)
        waiting = self._waiting.get(reader, [])
        if not waiting and self._whole(turn, next_) == len(rows):
            self._next[reader] = next_ + len(rows)
            return rows
        labels = turn < 0
        ready = [rows.take(np.flatnonzero(labels))] if labels.any() else []
        events = rows.take(np.flatnonzero(~labels)) if ready else rows
        if len(events):
            waiting = [*waiting, events]
            turns = np.concatenate([each.turn[:, self._entity] for each in waiting])
            order = np.argsort(turns)
            if count := self._whole(turns[order], next_):
                rows = Admitted.concat(waiting)
                ready.append(rows.take(order[:count]))
                self._next[reader] = next_ + count
                waiting = [rows.take(order[count:])] if count < len(rows) else []
            self._waiting[reader] = waiting
        return Admitted.concat(ready) if ready else None

    @staticmethod
    def _whole(turn: Int64s, next_: int) -> int:
        """How many of these turns, in order, are those of whole batches from the next turn on."""
        there = turn >> 1 == np.arange(next_, next_ + len(turn))
        ends = np.flatnonzero(np.logical_and.accumulate(there) & (turn & 1 > 0))
        return int(ends[-1]) + 1 if len(ends) else 0
