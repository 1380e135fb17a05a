"""Arrival order in a task: rows are put back into the order in which their reader took them.

On their way rows pass through the lanes of their ids, and one task may be faster than another. A
reader counts the events it takes for each task; here they wait for their turn. Nothing of this
needs to be kept: when a checkpoint is complete, every event before it has come, and none waits.
"""

from __future__ import annotations

import numpy as np

from jobs.lanes.rows import Admitted


class Turns:
    """The rows of a task of entity `entity` that wait for one before them. Labels never wait."""

    def __init__(self, entity: int) -> None:
        self._entity = entity
        self._next: dict[int, int] = {}
        self._waiting: dict[int, list[Admitted]] = {}

    def push(self, reader: int, rows: Admitted) -> Admitted | None:
        """What can go on now that these rows of a reader are here, in its order."""
        turn, next_ = rows.turn[:, self._entity], self._next.get(reader, 0)
        waiting = self._waiting.get(reader, [])
        if not waiting and (turn == np.arange(next_, next_ + len(rows))).all():
            self._next[reader] = next_ + len(rows)
            return rows
        labels = turn < 0
        ready = [rows.take(np.flatnonzero(labels))] if labels.any() else []
        events = rows.take(np.flatnonzero(~labels)) if ready else rows
        if len(events):
            waiting = [*waiting, events]
            if turn[~labels].min() == next_:
                whole = Admitted.concat(waiting)
                whole = whole.take(np.argsort(whole.turn[:, self._entity]))
                here = whole.turn[:, self._entity] == np.arange(next_, next_ + len(whole))
                count = len(whole) if here.all() else int(np.argmin(here))
                ready.append(whole[:count])
                self._next[reader] = next_ + count
                waiting = [whole[count:]] if count < len(whole) else []
            self._waiting[reader] = waiting
        return Admitted.concat(ready) if ready else None
