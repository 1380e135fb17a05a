"""What rows of a sketch are usually like at each hour of the week: the reference that is compared.

A row's bins are cut once into at most GROUPS groups of about equal weight, by its first whole day;
from then on groups are counted by week and slot of the week, and of `weeks` weeks that are kept
each slot's counts say what is to be expected in it. So night is compared with night and Sunday with
Sunday, and a day with more events expects more of all.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from operators.drift.sketch import BINS, BLOCK, BLOCKS
from streams.errors import ConfigError
from streams.ident import mix
from streams.jit import kernel
from streams.schema import DAY

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Reference = Literal["fixed", "sliding", "reservoir"]
"""The first weeks, the latest ones, or a sample of all."""
GROUPS = 10
FLAGGED, NOVEL, WHOLE = GROUPS, GROUPS + 1, GROUPS + 2
COLUMNS = GROUPS + 3
"""Of what is counted: values by group, flagged ones, ones in bins never seen, and all events."""
SPREAD = NOVEL
"""Of what is expected: in that place the squares of events over those of the reference."""
HOUR, WEEK = DAY // 24, 7 * DAY
MONDAY = 3 * DAY
"""1970 began on a Thursday."""
WAITING, COLLECTING, READY = 0, 1, 2
_ENOUGH = 256
"""Events by which groups are cut, at least."""


class Season:
    """The reference of F rows, in buckets of a length. (weeks, slots, F, GROUPS + 1) small counts.

    `settle_us` (F,) says how long after the first bucket a row is not what it will be: a count over
    30 days grows for 30 days. A row then waits for a midnight, is collected for a day, and has a
    reference at a slot once that has been seen.
    """

    def __init__(
        self, settle_us: Int64s, bucket_us: int, weeks: int, kind: Reference, seed: int
    ) -> None:
        if kind not in get_args(Reference) or weeks < 1:
            wanted = f"one of {', '.join(get_args(Reference))} and at least a week"
            raise ConfigError(f"reference: wanted {wanted}; got {kind!r} and {weeks} weeks")
        self.slot_us = max(HOUR, bucket_us)
        if WEEK % self.slot_us or self.slot_us % bucket_us:
            wanted = "one that divides an hour, or whole hours that divide a week"
            raise ConfigError(f"bucket: wanted {wanted}; got {bucket_us / 1e6:g} s")
        rows = len(settle_us)
        self.kind, self.seed, self.settle_us = kind, seed, settle_us
        self.fine = np.zeros((rows, BINS), np.int64)
        """Counts of the day by which groups were cut."""
        self.group = np.zeros((rows, BINS), np.int8)
        """The group of each bin; -1 - group while no value has been in it."""
        self.groups = np.zeros(rows, np.int64)
        self.phase = np.zeros(rows, np.int8)
        self.since_us = np.full(rows, -1, np.int64)
        """From when on a row waits, is collected, or is counted."""
        self.today = np.zeros((rows, BINS), np.bool_)
        self.kept = np.zeros((weeks, WEEK // self.slot_us, rows, GROUPS + 1), np.int32)
        self.pending = np.zeros((rows, GROUPS + 1), np.int64)
        self.usual = np.zeros((rows, GROUPS + 1))
        self.at = np.full(1, -1, np.int64)
        """The slot that is open, counted from a Monday before 1970."""
        self._week = -1
        self._places = np.full(rows, -1, np.int64)

    def parts(self) -> dict[str, npt.NDArray[np.generic]]:
        """All that changes, by name."""
        names = ("fine", "group", "groups", "phase", "since_us", "today")
        return {name: getattr(self, name) for name in (*names, "kept", "pending", "usual", "at")}

    def stale(self, start_us: int) -> bool:
        """Whether a bucket is of another slot than the open one."""
        return (start_us + MONDAY) // self.slot_us != int(self.at[0])

    def move(self, start_us: int, frozen: Bools) -> None:
        """Go to the slot of a bucket; what the last held joins the reference, but of frozen."""
        slot = (start_us + MONDAY) // self.slot_us
        at, slots = int(self.at[0]), self.kept.shape[1]
        if self._week != at // slots:
            self._set_places(at // slots)
        new_day = at < 0 or slot * self.slot_us // DAY != at * self.slot_us // DAY
        _turn(self.kept, self._places, frozen, at % slots, slot % slots, self.pending, self.usual)
        if new_day:
            self._new_day(start_us, frozen)
            self._week = -1
        self.at[0] = slot

    def _set_places(self, week: int) -> None:
        """Where each row's counts of a week are kept; -1: nowhere."""
        self._week = week
        first = (self.since_us + MONDAY) // WEEK
        self._places[...] = [
            self._place(week - begun) if phase == READY else -1
            for begun, phase in zip(first.tolist(), self.phase.tolist(), strict=True)
        ]

    def _place(self, week: int) -> int:
        """Where the counts of a row's week are kept: of `weeks` places, or -1: nowhere."""
        weeks = len(self.kept)
        if self.kind == "sliding" or week < weeks:
            return week % weeks
        if self.kind == "fixed":
            return -1
        drawn = int(mix(np.uint64((self.seed * 1_000_003 + week) % 2**64))) % (week + 1)
        return drawn if drawn < weeks else -1

    def _new_day(self, now_us: int, frozen: Bools) -> None:
        """At midnight rows go on: they are collected once settled, and cut after a day."""
        self.since_us[self.since_us < 0] = now_us
        midnight = now_us % DAY == 0 or self.at[0] >= 0
        for row in np.flatnonzero(self.phase != READY):
            if self.phase[row] == WAITING:
                if midnight and now_us >= self.since_us[row] + self.settle_us[row]:
                    self.phase[row] = COLLECTING
                    self.since_us[row] = now_us
            elif now_us >= self.since_us[row] + DAY and self.fine[row].sum() >= _ENOUGH:
                self.groups[row] = _cut(self.fine[row], self.group[row])
                self.phase[row] = READY
                self.since_us[row] = now_us
        _know(self.today, frozen, self.group)

    def relearn(self, row: int, now_us: int) -> None:
        """Forget a row: what it is from now on becomes its reference."""
        self.fine[row] = 0
        self.phase[row] = COLLECTING
        self.since_us[row] = now_us
        self.kept[:, :, row] = 0
        self.pending[row] = self.usual[row] = 0
        self.today[row] = False
        self._places[row] = -1

    def refresh(self) -> None:
        """Take what follows from the parts from them."""
        self._week = -1


@kernel(
    "void(int32[:, :, :, ::1], int64[::1], boolean[::1], int64, int64, int64[:, ::1],"
    " float64[:, ::1])"
)
def _turn(kept, places, frozen, old, new, pending, usual):  # type: ignore[no-untyped-def]
    """Keep what the old slot held, and sum up what is kept of the new one."""
    for row in range(len(places)):
        for group in range(GROUPS + 1):
            if places[row] >= 0 and not frozen[row]:
                kept[places[row], old, row, group] = pending[row, group]
            pending[row, group] = 0
            usual[row, group] = 0.0
            for week in range(len(kept)):
                usual[row, group] += kept[week, new, row, group]


@kernel("void(boolean[:, ::1], boolean[::1], int8[:, ::1])")
def _know(today, frozen, group):  # type: ignore[no-untyped-def]
    """Bins that have had a value for the first time today are known from here on."""
    for row in range(len(frozen)):
        for at in range(today.shape[1]):
            if today[row, at]:
                group[row, at] = group[row, at] if frozen[row] else -1 - group[row, at]
                today[row, at] = False


@kernel("int64(int64[::1], int8[::1])")
def _cut(fine, group):  # type: ignore[no-untyped-def]
    """Cut bins into groups of about equal weight, a bin by the middle of its mass; how many."""
    total = fine.sum()
    below = last = np.int64(0)
    groups = -1
    for at in range(len(fine)):
        place = min(GROUPS - 1, (2 * below + fine[at]) * GROUPS // (2 * total))
        if fine[at] and (groups < 0 or place != last):
            groups += 1
            last = place
        group[at] = max(groups, 0) if fine[at] else -1 - max(groups, 0)
        below += fine[at]
    return groups + 1


@kernel(
    "float64(int64[:, ::1], int64[::1], int64[::1], int8[::1], int64[:, ::1], int8[:, ::1],"
    " boolean[:, ::1], int64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, ::1],"
    " int64[::1], float64, boolean)"
)
def take(  # type: ignore[no-untyped-def]
    counts, blocks, flagged, phase, fine, group, today, pending, usual, seen, wanted, only,
    per_slot, apart,
):  # fmt: skip
    """Count a bucket's rows into groups, beside what was to be expected of so many events.

    `seen` and `wanted` (F, COLUMNS) are added to where there is a reference; `only` (F,) is the one
    bin with values, -1 of none yet, -2 of several. Flagged values are `apart` from those in bins,
    or among them. Returns the most events of a row in `seen`.
    """
    most = 0.0
    now = np.empty(COLUMNS, np.int64)
    for row in range(counts.shape[0]):
        if phase[row] == 1:
            for at in range(counts.shape[1]):
                fine[row, at] += counts[row, at]
        if phase[row] != 2:
            continue
        now[:] = 0
        n = np.int64(0)
        for block in range(BLOCKS):
            if not blocks[row] >> block & 1:
                continue
            for at in range(block * BLOCK, min((block + 1) * BLOCK, BINS)):
                count = counts[row, at]
                if count == 0:
                    continue
                n += count
                place = int(group[row, at])
                if place < 0:
                    place = -1 - place
                    now[NOVEL] += count
                    today[row, at] = True
                now[place] += count
                if only[row] != at:
                    only[row] = at if only[row] == -1 else -2
        now[FLAGGED] = flagged[row]
        now[WHOLE] = n + flagged[row] if apart else n
        m = 0.0
        for place in range(GROUPS):
            m += usual[row, place]
        for place in range(GROUPS + 1):
            pending[row, place] += now[place]
        whole = m + usual[row, FLAGGED] if apart else m
        if whole <= 0.0:
            continue
        wanted[row, FLAGGED] += now[WHOLE] * usual[row, FLAGGED] / whole
        wanted[row, WHOLE] += now[WHOLE] * (now[WHOLE] * per_slot / whole)
        for place in (FLAGGED, NOVEL, WHOLE):
            seen[row, place] += now[place]
        most = max(most, seen[row, WHOLE])
        if m > 0.0:
            wanted[row, SPREAD] += n * (n * per_slot / m)
            for place in range(GROUPS):
                seen[row, place] += now[place]
                wanted[row, place] += n * usual[row, place] / m
    return most
