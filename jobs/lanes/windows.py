"""The windows of one entity over lanes of keys.

Key records live in the lanes' stores. An arena holds a copy of those that were asked for, and the
kernels work there; what has changed goes back into its lane's store when it is to be kept. A copy
that has grown too large is then dropped: nothing is lost, and what is asked for is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.lanes.described import records_of, swept
from jobs.lanes.lanes import lanes_of, runs
from jobs.lanes.rows import Admitted
from jobs.lanes.store import Store
from operators.arena import CHUNK
from operators.featurize import EntityWindows
from operators.keyrecords import PREFIX, absent, clock, newest_us, pack_changed, set_clock, unpack
from operators.plan import EntityPlan
from operators.ring import RETENTION

Int64s = npt.NDArray[np.int64]
_ROOM = 4 * (PREFIX + CHUNK)
SWEEPS = 4
"""How often in the time that events are retained a lane's store is cleared of expired records."""


class LaneWindows:
    """The windows of entity `number` of an event's keys, for the lanes that one task owns.

    `stores` gives a lane's store, of `lanes` in all, until the next is asked for. At most about
    `most_bytes` of records are in memory. `custom` is the kernel of the pipeline's own features
    (`operators.featurize.chain`). In `strict` order the rows of one lane come at a time, and it may
    be far ahead of another: each has a clock of its own.
    """

    def __init__(
        self,
        plan: EntityPlan,
        number: int,
        custom: Any,
        stores: Callable[[int], Store],
        lanes: int,
        most_bytes: int,
        *,
        strict: bool = False,
    ) -> None:
        self.plan, self.number = plan, number
        self._stores, self._lanes = stores, lanes
        self._custom, self._most = custom, most_bytes
        self._windows = EntityWindows(plan, number, custom)
        self._out = np.empty(_ROOM, np.int64)
        self._swept: dict[int, int] = {}
        self._strict = strict
        self._clocks: dict[int, int] = {}
        self._lane: int | None = None
        """In strict order, the lane of the last rows."""
        self._changed: list[Int64s] = []
        """The keys of rows whose records are not in their stores yet."""

    @property
    def nbytes(self) -> int:
        """Bytes of the records in memory."""
        return self._windows.arena.nbytes

    def take(self, rows: Admitted) -> None:
        """Carry rows through: labels go into the windows, features into `rows.features`."""
        self.make(rows)
        self.keep()

    def make(self, rows: Admitted) -> None:
        """Do so, and leave the stores as they are until `keep`; in strict order that is next."""
        if not len(rows):
            return
        if self._strict:
            self._lane = int(lanes_of(rows.keys[:1, self.number], self._lanes)[0])
            set_clock(self._windows.arena, self._clocks.get(self._lane, 0))
        self._load(rows.keys)
        n = len(rows)
        admitted = np.where(rows.number >= 0, np.arange(n), -1)
        self._windows.update(
            rows, admitted, rows.when, rows.keys, rows.ident, rows.known, rows.value, rows.features
        )
        self._changed.append(rows.keys)

    def keep(self) -> None:
        """Put into the stores what has changed since they were last kept."""
        if not self._changed:
            return
        self._keep(np.concatenate(self._changed))
        self._changed.clear()
        at = clock(self._windows.arena)
        self._sweep(self._lane)
        if self._lane is not None:
            self._clocks[self._lane] = at
        if self.nbytes > self._most:
            self._windows = EntityWindows(self.plan, self.number, self._custom)
            set_clock(self._windows.arena, at)

    def _load(self, keys: Int64s) -> None:
        """Have the records of these keys in memory, where there are any."""
        arena = self._windows.arena
        rows = np.empty(len(keys), np.int64)
        count = absent(arena.index, arena.slots, keys, self.number, rows)
        if not count:
            return
        wanted = keys[rows[:count], self.number]
        order, found = runs(lanes_of(wanted, self._lanes))
        raw: list[bytes] = []
        for lane, start, stop in found:
            store = self._stores(lane)
            each = {key.tobytes() for key in wanted[order[start:stop]]}
            raw += [record for record in map(store.get, each) if record is not None]
            self._swept.setdefault(lane, clock(arena))
        if raw:
            unpack(arena, self.plan.shape, np.frombuffer(bytearray(b"".join(raw)), np.int64))

    def _keep(self, keys: Int64s) -> None:
        """Put the records that changed into their stores."""
        arena, row = self._windows.arena, 0
        ends = np.zeros(len(keys) + 1, np.int64)
        while row < len(keys):
            row = pack_changed(
                arena.words, self.plan.shape, arena.classes, arena.slots, arena.index, arena.dirty,
                keys, self.number, row, self._out, ends,
            )  # fmt: skip
            count = int(ends[0])
            if not count:
                continue
            ends[0] = 0
            bounds = ends[: count + 1]
            raw = memoryview(self._out[: bounds[-1]].tobytes())
            changed = self._out[np.stack([bounds[:-1], bounds[:-1] + 1], axis=1)]
            order, found = runs(lanes_of(changed, self._lanes))
            starts, stops = (8 * bounds[:-1][order]).tolist(), (8 * bounds[1:][order]).tolist()
            for lane, first, last in found:
                self._stores(lane).put_all(
                    {
                        bytes(raw[start : start + 16]): bytes(raw[start:stop])
                        for start, stop in zip(starts[first:last], stops[first:last], strict=True)
                    }
                )

    def _sweep(self, only: int | None) -> None:
        """Now and then, forget the keys of a lane, of this one alone, whose events have expired."""
        shape, now = self.plan.shape, clock(self._windows.arena)
        due = now - int(shape[RETENTION]) // SWEEPS
        lanes = [only] if only in self._swept else self._swept if only is None else ()
        lane = next((lane for lane in lanes if self._swept[lane] < due), None)
        if lane is None:
            return
        self._swept[lane] = now
        limit = now - int(shape[RETENTION])
        store = self._stores(lane)
        expired = [
            key
            for key, raw in records_of(store)
            if newest_us(np.frombuffer(raw, np.int64), shape) <= limit
        ]
        for key in expired:
            store.remove(key)
        swept(store, now)
