"""Events whose labels are known, with features and scores: what models are judged by afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from models.base import Floats, Labels

Int64s = npt.NDArray[np.int64]
KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Labelled:
    """Events in order of time, the last of them perhaps without a label yet."""

    where: str
    names: tuple[str, ...]
    x: Floats
    """(n, features), NaN where missing."""
    y: npt.NDArray[np.int8]
    """(n,) 1, 0, or -1 of those too young: from the first of them on, all are."""
    at_once: frozenset[str] = frozenset()
    """Features that read labels at the time of the events these are of."""
    score: Floats = field(default_factory=lambda: np.empty(0))
    """(n,) as they were scored."""


class Judged:
    """The last `most` examples, in the order in which their labels became known.

    (features + 3) · 8 bytes each. No part of any state: a run that goes on begins with none.

    >>> judged = Judged(("amount",), most=2)
    >>> x, y = np.array([[1.0], [2.0], [3.0]]), np.array([0, 1, 0], np.int8)
    >>> judged.take(np.array([7, 8, 5]), x, np.array([0.1, 0.2, 0.3]), y)
    >>> judged.labelled("a run").x.tolist()
    [[3.0], [2.0]]
    """

    def __init__(self, names: tuple[str, ...], most: int = KEPT) -> None:
        self._names = names
        self._time = np.zeros(most, np.int64)
        self._rows = np.zeros((most, len(names) + 2))
        self._seen = 0

    def take(self, time_us: Int64s, x: Floats, score: Floats, y: Labels) -> None:
        """Keep n examples: when the events were, (n, features), scores and labels."""
        first = max(len(y) - len(self._time), 0)
        at = (self._seen + np.arange(first, len(y))) % len(self._time)
        self._time[at], self._rows[at, :-2] = time_us[first:], x[first:]
        self._rows[at, -2], self._rows[at, -1] = score[first:], y[first:]
        self._seen += len(y)

    def labelled(self, where: str) -> Labelled:
        """All of them in order of time."""
        order = np.argsort(self._time[: self._seen], kind="stable")
        rows = self._rows[order]
        y, score = rows[:, -1].astype(np.int8), rows[:, -2].copy()
        return Labelled(where, self._names, np.ascontiguousarray(rows[:, :-2]), y, score=score)
