"""Which records of an input have no answer, and what that means."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from jobs.clients.gathered import OFFSETS, PLACE, WHEN

Int64s = npt.NDArray[np.int64]


class Answers:
    """Of one input: records without an answer, and from where to where there are answers.

    A job takes a partition in its order, so what is open between two answers will never have one.
    """

    def __init__(self) -> None:
        self._open: list[Int64s] = []
        self._bounds: dict[int, tuple[int, int]] = {}

    def add(self, opened: Int64s, answered: Int64s) -> None:
        """Rows of records that are open, and the places of records that were surely processed."""
        self._open.append(opened[:, [PLACE, WHEN]])
        partition = answered >> OFFSETS
        for each in np.unique(partition).tolist():
            mine = answered[partition == each]
            first, last = self._bounds.get(each, (int(mine[0]), int(mine[0])))
            self._bounds[each] = min(first, int(mine.min())), max(last, int(mine.max()))

    def settle(
        self, since_us: int, held_from_us: int, *, forgotten: bool
    ) -> tuple[dict[str, int], list[int]]:
        """What the open ones are, by name, and the places of the lost.

        Dated before `since_us` they need no answer; from `held_from_us` on they may be held back.
        With `forgotten` answers may have been deleted: what lies before the first is not judged.
        """
        rows = np.concatenate([np.empty((0, 2), np.int64), *self._open])
        place, when = rows[:, 0], rows[:, 1]
        partition = place >> OFFSETS
        first, last = np.full(len(rows), -1), np.full(len(rows), -1)
        for each, bounds in self._bounds.items():
            first[partition == each], last[partition == each] = bounds
        before = when < since_us
        expired = ~before & forgotten & (place < first)
        flight = ~before & ~expired & ((place > last) | (when >= held_from_us))
        lost = ~before & ~expired & ~flight
        counts = {
            "before the start": int(before.sum()),
            "answers deleted": int(expired.sum()),
            "in flight": int(flight.sum()),
        }
        return counts, np.sort(place[lost]).tolist()
