"""Batch: events and labels as columns, in processing order. One event is a batch of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int64s = npt.NDArray[np.int64]
EVENT = 0
LABEL = 1
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Batch:
    """n rows, K entity keys, V numbers, C categories.

    A label row has the id it speaks of, the time it became known and its value; its keys, numbers
    and categories are zero and its key texts are empty.
    """

    kind: npt.NDArray[np.uint8]
    """(n,) EVENT or LABEL."""
    time: Int64s
    """(n,) event time in microseconds UTC; of a label, when it became known."""
    idents: Int64s
    """(n, 1 + K, 2) idents of the id, then of each entity key."""
    numbers: Int64s
    """(n, V) in units of 10**-scale, or MISSING."""
    categories: Int64s
    """(n, C) ident low words, or MISSING."""
    label: npt.NDArray[np.int8]
    """(n,) 1 or 0 on label rows, UNKNOWN on events."""
    received: Int64s
    """(n,) when the source took the record, microseconds UTC."""
    partition: npt.NDArray[np.int32]
    """(n,) which input of the source."""
    offset: Int64s
    """(n,) the record's place there."""
    texts: tuple[pa.Array, ...]
    """1 + K columns, large_string or int64: the id, then each key, as they were written."""

    def __len__(self) -> int:
        return len(self.kind)

    def __getitem__(self, rows: slice) -> Batch:
        """A contiguous run of rows, without copying."""
        start, stop, _ = rows.indices(len(self))
        return self._each(
            lambda column: column[start:stop], lambda text: text.slice(start, stop - start)
        )

    def take(self, rows: Int64s) -> Batch:
        """The rows at these places, in this order."""
        places = pa.array(rows)
        return self._each(lambda column: column.take(rows, axis=0), lambda text: text.take(places))

    def _each(self, column, text) -> Batch:  # type: ignore[no-untyped-def]
        values = {field.name: column(getattr(self, field.name)) for field in fields(self)[:-1]}
        return Batch(**values, texts=tuple(text(array) for array in self.texts))

    @staticmethod
    def concat(batches: Sequence[Batch]) -> Batch:
        """The rows of all batches, one after the other; at least one batch."""
        if len(batches) == 1:
            return batches[0]
        values = {
            field.name: np.concatenate([getattr(batch, field.name) for batch in batches])
            for field in fields(Batch)[:-1]
        }
        texts = tuple(
            pa.concat_arrays([as_text(batch.texts[column]) for batch in batches])
            if len({batch.texts[column].type for batch in batches}) > 1
            else pa.concat_arrays([batch.texts[column] for batch in batches])
            for column in range(len(batches[0].texts))
        )
        return Batch(**values, texts=texts)


def as_text(array: pa.Array) -> pa.Array:
    """The column as large_string, whatever it was written as."""
    return array if pa.types.is_large_string(array.type) else array.cast(pa.large_string())
