"""The feature operator of the embedded host: rows in, one line of features an event out, key
records in arenas.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from operators import ring
from operators.arena import Arena
from operators.capture import Capture
from operators.features import EVENT_OPERATIONS
from operators.plan import EntityPlan, Plan
from operators.reading import USER, no_custom
from operators.windows import SWEPT, update
from streams.batch import Batch
from streams.jit import address_of, kernel, lend

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
MISSING = -(2**63)
DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000

VALUE, MISSING_NUMBER, WEEKEND, NIGHT, HOUR, WEEKDAY, BUCKET = range(len(EVENT_OPERATIONS))
MISSING_CATEGORY = MISSING_NUMBER + 100


@kernel(
    "void(int64[:, ::1], float64[::1], int64[::1], int64[::1], int64[:, ::1], int64[:, ::1],"
    " float64[:, ::1])"
)
def event_features(
    ops: Int64s,
    units: Float64s,
    admitted: Int64s,
    time: Int64s,
    numbers: Int64s,
    categories: Int64s,
    out: Float64s,
) -> None:
    """Write the features that need nothing but the event. 1970-01-01 was a Thursday."""
    for row in range(len(admitted)):
        line = admitted[row]
        if line < 0:
            continue
        hour = time[row] % DAY_US // HOUR_US
        weekday = (time[row] // DAY_US + 3) % 7
        for o in range(len(ops)):
            code, at, column = ops[o, 0], ops[o, 1], ops[o, 2]
            result = np.nan
            if code == VALUE:
                held = numbers[row, column]
                if held != MISSING:
                    result = held / units[at]
            elif code == MISSING_NUMBER:
                result = 1.0 if numbers[row, column] == MISSING else 0.0
            elif code == MISSING_CATEGORY:
                result = 1.0 if categories[row, column] == MISSING else 0.0
            elif code == WEEKEND:
                result = 1.0 if weekday >= 5 else 0.0
            elif code == NIGHT:
                result = 1.0 if hour <= ops[o, 3] else 0.0
            elif code == HOUR:
                result = float(hour)
            elif code == WEEKDAY:
                result = float(weekday)
            elif categories[row, column] != MISSING:
                result = float(categories[row, column] % ops[o, 3])
            out[line, at] = result


@kernel("void(int64[:, ::1], float64[:, ::1])")
def derived_features(ops: Int64s, out: Float64s) -> None:
    """Write ratios, differences and z-scores of features already there."""
    for line in range(len(out)):
        for o in range(len(ops)):
            left, right = out[line, ops[o, 2]], out[line, ops[o, 3]]
            if ops[o, 0] == 0:
                result = left / right if right != 0 else np.nan
            elif ops[o, 0] == 1:
                result = left - right
            else:
                spread = out[line, ops[o, 4]]
                result = (left - right) / spread if spread != 0 else np.nan
            out[line, ops[o, 1]] = result


def chain(functions: list[Any]) -> Any:
    """One kernel that calls the n-th of a pipeline's own feature kernels."""
    dispatch = no_custom
    for number, function in enumerate(functions):
        dispatch = _link(dispatch, number, function)
    return dispatch


def _link(rest: Any, number: int, function: Any) -> Any:
    @kernel(USER)
    def dispatch(which, times, values, status):  # type: ignore[no-untyped-def]
        if which == number:
            return function(times, values, status)
        return rest(which, times, values, status)

    return dispatch


class Columns(Protocol):
    """What the windows need of rows, beside what the index says of them."""

    @property
    def numbers(self) -> Int64s:
        """(n, V)."""

    @property
    def categories(self) -> Int64s:
        """(n, C)."""


class EntityWindows:
    """One entity's key records and the scratch its kernel needs."""

    def __init__(self, plan: EntityPlan, number: int, custom: Any) -> None:
        self.plan = plan
        self.number = number
        self._custom = custom, address_of(custom)
        self.arena = Arena.reserve(plan.shape)
        stride, cap = int(plan.shape[ring.STRIDE]), int(plan.shape[ring.CAP])
        head = int(plan.shape[ring.HEAD])
        lines = cap if plan.shape[ring.SCAN] >= 0 else 0
        self._scratch = (
            np.zeros(head + stride, np.int64),
            np.zeros(head, np.int64),
            np.zeros(lines, np.int64),
            np.zeros(lines, np.int8),
            np.zeros((stride, lines), np.int64),
        )
        self._moves = -1
        self._table = np.empty((0, 3), np.int64)
        self._capture: Capture | None = None

    def capture(self, *, whole: bool) -> Capture:
        """The records as they are now, whatever `update` does to them until all are packed."""
        self._capture = Capture(self.arena, self.plan.shape, whole=whole)
        return self._capture

    def let_go(self) -> None:
        """Forget the last capture."""
        self._capture = None

    def _lend(self) -> Int64s:
        """All that stays in place between calls, in the order that the kernel takes it."""
        arena, plan = self.arena, self.plan
        return lend(
            arena.words, arena.chunk_before, arena.heads, arena.classes, arena.slots, arena.index,
            arena.dirty, plan.shape, plan.ages, plan.acc_from, plan.accs, plan.ops, plan.fields,
            plan.reals, *self._scratch,
        )  # fmt: skip

    def update(
        self,
        batch: Columns,
        admitted: Int64s,
        when: Int64s,
        keys: Int64s,
        ident: Int64s,
        known: Int64s,
        value: npt.NDArray[np.int8],
        out: Float64s,
    ) -> None:
        """See `operators.windows.update`. Raises MemoryError when the arena is used up."""
        arena = self.arena
        if self._capture is not None:
            self._capture.before(keys, self.number, SWEPT)
        arena.make_room(len(admitted))
        if arena.moves != self._moves:
            self._table, self._moves = self._lend(), arena.moves
        done = update(
            self._table, self.number, self._custom[1], admitted, when, batch.numbers,
            batch.categories, keys, ident, known, value, out,
        )  # fmt: skip
        if done < 0:
            raise MemoryError(
                f"the records of {self.plan.key!r} fill all memory ({arena.nbytes >> 20} MiB, "
                f"{arena.keys} keys): shorten its windows or lower its cap"
            )


class Features:
    """All features of a pipeline, exact and per event.

    A line's first `len(plan.names)` columns are the named features in order; hidden parts follow.
    """

    def __init__(self, plan: Plan, keys: tuple[str, ...]) -> None:
        self.plan = plan
        custom = chain([f.function for f in plan.columns if f.function is not None])
        self.entities = [
            EntityWindows(entity, keys.index(entity.key), custom) for entity in plan.entities
        ]

    def update(
        self,
        batch: Batch,
        admitted: Int64s,
        when: Int64s,
        keys: Int64s,
        ident: Int64s,
        known: Int64s,
        value: npt.NDArray[np.int8],
        lines: int,
    ) -> Float64s:
        """Features (lines, columns) of the admitted events among these rows; labels are written in
        passing.

        admitted: (m,) which line an event writes, -1 otherwise; when, keys, ident, known, value:
        as the index decided (`operators.labels.Admission`).
        """
        out = np.empty((lines, len(self.plan.columns)))
        event_features(
            self.plan.event_ops,
            self.plan.units,
            admitted,
            when,
            batch.numbers,
            batch.categories,
            out,
        )
        for entity in self.entities:
            entity.update(batch, admitted, when, keys, ident, known, value, out)
        if len(self.plan.derived_ops):
            derived_features(self.plan.derived_ops, out)
        return out
