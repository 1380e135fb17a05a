"""One change is one alarm: which rows are changed, since when, and of which alarm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

CALM = 0.01
"""A row is as it was when its distance is no rarer than this by chance."""


class Changed:
    """Of every statistic and row whether it is changed. Alarms are named by when they were raised.

    Statistics of one kind share alarms.
    """

    def __init__(self, kinds: Sequence[str], rows: int) -> None:
        self.kinds = tuple(kinds)
        shape = (len(kinds), rows)
        self.alarm_us = np.zeros(shape, np.int64)
        """0: it takes part in none."""
        self.joined_us = np.zeros(shape, np.int64)
        self.since_us = np.zeros(shape, np.int64)
        self.size = np.zeros(shape)
        self.threshold = np.zeros(shape)
        self.scale = np.zeros(shape, np.int64)
        """At which it must be calm to have ended."""
        self.ended = np.zeros(shape, np.bool_)
        """It is as it was, while others of its alarm are not."""
        self.rows = np.zeros(rows, np.bool_)
        """Those that are changed, by any statistic."""
        self.any = False

    def parts(self) -> dict[str, npt.NDArray[np.generic]]:
        """All that changes, by name."""
        names = ("alarm_us", "joined_us", "since_us", "size", "threshold", "scale", "ended")
        return {name: getattr(self, name) for name in names}

    @property
    def now(self) -> Bools:
        """(statistics, rows) that are changed."""
        return np.asarray((self.alarm_us > 0) & ~self.ended)

    def refresh(self) -> None:
        """Take what follows from the parts from them."""
        self.rows[...] = self.now.any(axis=0)
        self.any = bool(self.rows.any())

    def until(self, scale: int) -> Bools:
        """Rows that are changed until such a window or a shorter one is calm."""
        if not self.any:
            return self.rows
        return np.asarray((self.now & (self.scale <= scale)).any(axis=0))

    def join(self, statistic: int, rows: Int64s, scale: int, now_us: int, together_us: int) -> bool:
        """Rows have changed: a part of that kind's open alarm if it is not older than together.

        Whether they are a new one.
        """
        alike = [place for place, kind in enumerate(self.kinds) if kind == self.kinds[statistic]]
        open_us = self.alarm_us[alike][self.now[alike]]
        latest = int(open_us.max(initial=0))
        new = latest == 0 or latest < now_us - together_us
        self.alarm_us[statistic, rows] = now_us if new else latest
        self.joined_us[statistic, rows] = now_us
        self.scale[statistic, rows] = scale
        self.ended[statistic, rows] = False
        self.rows[rows] = True
        self.any = True
        return new

    def calm(self, scale: int, p: Floats, start_us: int) -> None:
        """A window since `start_us` was judged: of rows told before it see which are over."""
        self.ended |= self.now & (self.scale == scale) & (self.joined_us <= start_us) & (p > CALM)
        self.refresh()

    def again(self, scale: int, p: Floats, levels: Floats) -> None:
        """Changed rows that a longer window tells too are changed until such a one is calm."""
        told = self.now[: len(levels)] & (p[: len(levels)] <= levels[:, None])
        of = self.scale[: len(levels)]
        of[told] = np.maximum(of[told], scale)

    def end_older(self, than_us: int) -> Bools:
        """End what joined before a time; which that were."""
        old = self.now & (self.joined_us <= than_us)
        self.ended |= old
        self.refresh()
        return old

    def finished(self) -> list[tuple[int, Int64s]]:
        """Alarms all of whose rows have ended: the first row's statistic, and rows by size.

        They are no longer open.
        """
        found = []
        open_ = self.alarm_us > 0
        for moment in sorted(set(self.alarm_us[open_].tolist())):
            for kind in dict.fromkeys(self.kinds):
                alike = np.array([each == kind for each in self.kinds])[:, None]
                mine = (self.alarm_us == moment) & alike
                if mine.any() and self.ended[mine].all():
                    statistics, rows = np.nonzero(mine)
                    order = np.argsort(-self.size[mine], kind="stable")
                    found.append((int(statistics[order[0]]), rows[order]))
                    self.alarm_us[mine] = 0
                    self.ended[mine] = False
        return found
