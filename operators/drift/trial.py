"""Whether another model does better than the champion, by the labels that come while both score."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from models.base import Floats, Labels, Tensors
from operators.metrics import average_precision
from streams.jit import kernel

SIZE = 20_000
_LOG_ODDS, _COUNT = range(2)
Ints = npt.NDArray[np.int64]


@kernel("void(float64[::1], float64[::1], int8[::1], float64[::1], float64[:, ::1])")
def compare(champion: Floats, other: Floats, y: Labels, tally: Floats, rows: Floats) -> None:
    """Take in what two models said of examples, in order.

    The tally is the log of how many times as likely labels are by the other, and their number.
    """
    for i in range(len(y)):
        mine = champion[i] if y[i] else 1.0 - champion[i]
        theirs = other[i] if y[i] else 1.0 - other[i]
        at = np.int64(tally[1]) % len(rows)
        rows[at, 0], rows[at, 1], rows[at, 2] = champion[i], other[i], y[i]
        tally[0] += np.log(theirs) - np.log(mine)
        tally[1] += 1.0


class Trial:
    """What two models said of the examples since it began; 24 bytes for each of the latest 20,000.

    >>> trial = Trial()
    >>> trial.take(np.array([0.4, 0.5]), np.array([0.1, 0.9]), np.array([0, 1], np.int8))
    >>> trial.won(odds=2), trial.won(odds=100)
    (False, False)
    """

    def __init__(self) -> None:
        self._tally, self._rows = np.zeros(2), np.zeros((SIZE, 3))

    def begin(self) -> None:
        """Forget what was."""
        self._tally[:], self._rows[:] = 0, 0

    def take(self, champion: Floats, other: Floats, y: Labels) -> None:
        """Take what the champion said of examples and what the other did."""
        compare(champion, other, y, self._tally, self._rows)

    def won(self, odds: float) -> bool:
        """Whether labels are so many times as likely by the other, which also ranks them better."""
        if self._tally[_LOG_ODDS] < math.log(odds):
            return False
        mine, theirs = self._ranked()
        return theirs > mine

    def _ranked(self) -> tuple[float, float]:
        """Average precision of the champion and of the other; nan without positives."""
        rows = self._rows[: int(self._tally[_COUNT])]
        y = rows[:, 2].astype(np.int8)
        mine, theirs = (average_precision(np.ascontiguousarray(rows[:, at]), y) for at in (0, 1))
        return mine, theirs

    def figures(self) -> dict[str, float]:
        """How it stands."""
        mine, theirs = self._ranked()
        return {
            "log_odds": float(self._tally[_LOG_ODDS]),
            "examples": float(self._tally[_COUNT]),
            "average_precision": theirs,
            "average_precision_of_champion": mine,
        }

    def parts(self) -> Tensors:
        """The arrays that hold it."""
        return {"tally": self._tally, "rows": self._rows}
