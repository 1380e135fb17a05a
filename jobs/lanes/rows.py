"""What travels between the operators of an engine: rows as columns, and those columns as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.lanes.headers import Column, joined, picked
from streams.batch import Batch, as_text
from streams.order import in_order
from streams.packing import array_of, pack, packed_array, packed_text, text_of, unpack

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """n records as they were read, on their way to the index."""

    batch: Batch
    late: Bools
    """(n,) whether an event is older than the newest its reader has seen, by more than allowed."""
    turn: Int64s
    """(n, E) for each entity, twice an event's place among those that its reader took of the lanes
    of one task, and one more for the last of a batch; -1 for a label, whose keys the reader does
    not know, and where all lanes are one task's."""
    values: list[bytes]
    """The records themselves, for the letter about one that cannot stay."""
    headers: Column = None
    """(n,) the headers of events; None for rows without any."""

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def time(self) -> Int64s:
        """(n,) what rows are ordered by, microseconds."""
        return self.batch.time

    def order(self) -> Int64s:
        """The places of the rows in strict order."""
        return in_order(self.batch)

    def take(self, rows: Int64s) -> Arrivals:
        """The rows at these places, in this order."""
        values = [self.values[row] for row in rows.tolist()]
        columns = self.batch.take(rows), self.late[rows], self.turn[rows]
        return Arrivals(*columns, values, picked(self.headers, rows))

    def __getitem__(self, rows: slice) -> Arrivals:
        columns = self.batch[rows], self.late[rows], self.turn[rows]
        return Arrivals(*columns, self.values[rows], self.headers and self.headers[rows])

    @staticmethod
    def concat(parts: Sequence[Arrivals]) -> Arrivals:
        """The rows of all parts, one after the other; at least one part."""
        if len(parts) == 1:
            return parts[0]
        values = [value for part in parts for value in part.values]
        late, turn = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("late", "turn")
        )
        batch = Batch.concat([part.batch for part in parts])
        return Arrivals(batch, late, turn, values, joined(parts))

    def pack(self) -> bytes:
        """The rows as bytes."""
        beside = self.late.tobytes(), packed_array(self.turn), self.values
        headers = (self.headers,) if self.headers else ()
        return msgspec.msgpack.encode((pack(self.batch), *beside, *headers))

    @classmethod
    def unpack(cls, raw: bytes | memoryview) -> Self:
        """The rows that `pack` made these bytes of."""
        batch, late, turn, values, *headers = msgspec.msgpack.decode(raw)
        return cls(unpack(batch), np.frombuffer(late, np.bool_), array_of(turn), values, *headers)


@dataclass(frozen=True, slots=True)
class Admitted:
    """n rows behind the index, K keys, V numbers, C categories, F columns, E entities.

    An event that was admitted, or a label with the keys and the time of the event it speaks of; or
    the place of an event that was not admitted, which is nothing but its turn.
    """

    number: Int64s
    """(n,) an event's number, unique in its job; -1 for all else."""
    time: Int64s
    """(n,) what rows are ordered by: the event's time, or when the label became known."""
    when: Int64s
    """(n,) the event's time."""
    ident: Int64s
    """(n,) low word of the id."""
    known: Int64s
    """(n,) when the label to be written into the windows became known; 0 if there is none."""
    value: npt.NDArray[np.int8]
    """(n,) that label, -1 if there is none."""
    late: Bools
    """(n,)"""
    keys: Int64s
    """(n, K, 2)"""
    numbers: Int64s
    """(n, V)"""
    categories: Int64s
    """(n, C)"""
    turn: Int64s
    """(n, E) as of `Arrivals`."""
    features: Floats
    """(n, F) of events, as far as they are made."""
    texts: tuple[pa.Array, ...]
    """The id, and the first key if there are keys, as they were written; of labels empty."""
    headers: Column = None
    """(n,) as of `Arrivals`."""

    def __len__(self) -> int:
        return len(self.number)

    def order(self) -> Int64s:
        """The places of the rows in strict order."""
        return np.asarray(np.lexsort((self.ident, self.number >= 0, self.time)))

    def take(self, rows: Int64s) -> Admitted:
        """The rows at these places, in this order."""
        places, headers = pa.array(rows), picked(self.headers, rows)
        return self._each(
            lambda column: column.take(rows, axis=0), lambda text: text.take(places), headers
        )

    def __getitem__(self, rows: slice) -> Admitted:
        start, stop, _ = rows.indices(len(self))
        return self._each(
            lambda column: column[start:stop],
            lambda text: text.slice(start, stop - start),
            self.headers and self.headers[rows],
        )

    def _each(self, column, text, headers) -> Admitted:  # type: ignore[no-untyped-def]
        values = {name: column(getattr(self, name)) for name in _ARRAYS}
        return Admitted(**values, texts=tuple(text(each) for each in self.texts), headers=headers)

    @staticmethod
    def concat(parts: Sequence[Admitted]) -> Admitted:
        """The rows of all parts, one after the other; at least one part."""
        if len(parts) == 1:
            return parts[0]
        values = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
        texts = (
            pa.concat_arrays([as_text(part.texts[column]) for part in parts])
            for column in range(len(parts[0].texts))
        )
        return Admitted(**values, texts=tuple(texts), headers=joined(parts))

    def pack(self) -> bytes:
        """The rows as bytes."""
        sizes = [getattr(self, name).shape[1] for name in _WIDE]
        words = b"".join([getattr(self, name).tobytes() for name in _WORDS])
        marks = self.value.tobytes() + self.late.tobytes()
        texts = [packed_text(text) for text in self.texts]
        headers = (self.headers,) if self.headers else ()
        return msgspec.msgpack.encode((len(self), sizes, words, marks, texts, *headers))

    @classmethod
    def unpack(cls, raw: bytes | memoryview) -> Self:
        """The rows that `pack` made these bytes of."""
        n, widths, words, marks, texts, *headers = msgspec.msgpack.decode(raw)
        keys, numbers, categories, turn, features = widths
        block, at, columns = np.frombuffer(bytearray(words), np.int64), 0, []
        for width in (1, 1, 1, 1, 1, 2 * keys, numbers, categories, turn, features):
            columns.append(block[at : at + n * width])
            at += n * width
        flags = np.frombuffer(bytearray(marks), np.int8)
        return cls(
            number=columns[0],
            time=columns[1],
            when=columns[2],
            ident=columns[3],
            known=columns[4],
            value=flags[:n],
            late=flags[n:].view(np.bool_),
            keys=columns[5].reshape(n, keys, 2),
            numbers=columns[6].reshape(n, numbers),
            categories=columns[7].reshape(n, categories),
            turn=columns[8].reshape(n, turn),
            features=columns[9].view(np.float64).reshape(n, features),
            texts=tuple(map(text_of, texts)),
            headers=headers[0] if headers else None,
        )


_ARRAYS = (
    "number", "time", "when", "ident", "known", "value", "late", "keys", "numbers", "categories",
    "turn", "features",
)  # fmt: skip
_WIDE = ("keys", "numbers", "categories", "turn", "features")
_WORDS = ("number", "time", "when", "ident", "known", *_WIDE)
