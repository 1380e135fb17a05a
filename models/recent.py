"""The examples that a batch model is made from: the latest, and a sample of those before them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from models.base import Floats, Labels, Tensors, column, examine
from models.reservoir import Reservoir

_SEEN, _DUE = range(2)


class Recent:
    """The latest `latest` examples, and of what came before a sample of `past` of each label.

    An example that is no longer among the latest is offered to the sample of its label; one that is
    in it stands for as many as it was drawn from, so that together they speak for all that came.
    They are to be learnt from after the first `after`, then each time as many have come as had come
    until then, and at last after every `every`. `inputs` are names among `names`, all of them when
    empty. Memory: 8 bytes a number, of which an example has two more than inputs, and one of the
    past 16 more.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        inputs: Sequence[str],
        model: str,
        *,
        latest: int,
        past: int,
        after: int,
        every: int,
        seed: int,
    ) -> None:
        self._names = names
        self.columns = [column(names, name, model) for name in inputs or names]
        width = len(self.columns) + 2
        self._every = every
        self._rows = np.zeros((latest, width))
        self._words = np.array([0, after], np.int64)
        self._past = Reservoir(past, width, strata=2, seed=seed) if past else None

    def take(self, x: Floats, y: Labels, weight: Floats) -> Iterator[tuple[slice, bool]]:
        """Keep examples, piece by piece; whether all are to be learnt from now."""
        examine(self._names, x)
        start, size = 0, len(self._rows)
        while start < len(x):
            seen, due = self._words.tolist()
            piece = slice(start, start + min(len(x) - start, due - seen, size))
            own = np.column_stack([x[piece][:, self.columns], y[piece], weight[piece]])
            places = (seen + np.arange(len(own))) % size
            if self._past and seen + len(own) > size:
                leaving = self._rows[places[max(size - seen, 0) :]]
                self._past.add(leaving, stratum=leaving[:, -2].astype(np.int64))
            self._rows[places] = own
            seen += len(own)
            self._words[_SEEN] = seen
            if seen == due:
                self._words[_DUE] = seen + min(seen, self._every)
            yield piece, seen == due
            start += len(own)

    def examples(self) -> tuple[Floats, Labels, Floats]:
        """Inputs, labels and weights of all that are kept."""
        rows = [self._rows[: self._words[_SEEN]]]
        shares = [np.ones(len(rows[0]))]
        if self._past:
            for label in (0, 1):
                sample, share = self._past.sample(label)
                rows.append(sample)
                shares.append(share)
        kept = np.concatenate(rows)
        weight = kept[:, -1] / np.concatenate(shares)
        return np.ascontiguousarray(kept[:, :-2]), kept[:, -2].astype(np.int8), weight

    def parts(self) -> Tensors:
        """The arrays that hold what is kept."""
        past = self._past.parts() if self._past else {}
        own = {"latest": self._rows, "words": self._words}
        return own | {f"past_{name}": part for name, part in past.items()}
