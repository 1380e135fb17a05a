"""What records hold, keys or values, many in one buffer: no object is made for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from streams.jit import borrow, copy_bytes, kernel

Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
_NEWLINE = 10


@dataclass(frozen=True, slots=True, eq=False)
class Payloads(Sequence[bytes | None]):
    """n byte strings, each text[start:stop], or none where stop is start - 1.

    >>> held = Payloads.of([b"a", None, b"", b"bc"])
    >>> held[3], list(held[1:3]), held.lengths.tolist()
    (b'bc', [None, b''], [1, -1, 0, 2])
    """

    text: Bytes
    starts: Int64s
    stops: Int64s
    lined: bool = False
    """Whether it is known that none is missing and that a newline follows each."""

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Payloads:
        """These byte strings, as they are if they are some already."""
        if isinstance(values, Payloads):
            return values
        n, lined = len(values), True
        try:
            text = b"\n".join([*values, b""])  # type: ignore[list-item]
            lengths = np.fromiter(map(len, values), np.int64, n)  # type: ignore[arg-type]
        except TypeError:
            lined = False
            text = b"\n".join([*(each or b"" for each in values), b""])
            lengths = np.array([-1 if each is None else len(each) for each in values], np.int64)
        starts, stops = np.empty(n, np.int64), np.empty(n, np.int64)
        _lay_out(lengths, starts, stops)
        return cls(np.frombuffer(text, np.uint8), starts, stops, lined)

    @classmethod
    def concat(cls, parts: Sequence[Payloads]) -> Payloads:
        """One after the other; a buffer that several share is there once."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.of([])
        texts = {id(part.text): part.text for part in parts}
        ends = np.cumsum([len(text) for text in texts.values()]).tolist()
        shifts = dict(zip(texts, [0, *ends], strict=False))
        return cls(
            np.concatenate(list(texts.values())) if len(texts) > 1 else parts[0].text,
            np.concatenate([part.starts + shifts[id(part.text)] for part in parts]),
            np.concatenate([part.stops + shifts[id(part.text)] for part in parts]),
            all(part.lined for part in parts),
        )

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, at: int) -> bytes | None: ...
    @overload
    def __getitem__(self, at: slice) -> Payloads: ...
    def __getitem__(self, at: int | slice) -> bytes | Payloads | None:
        if isinstance(at, slice):
            return self.take(at)
        start, stop = int(self.starts[at]), int(self.stops[at])
        return None if stop < start else self.text[start:stop].tobytes()

    def __iter__(self) -> Iterator[bytes | None]:
        if not len(self):
            return iter(())
        first = int(self.starts.min())
        whole = self.text[first : max(int(self.stops.max()), first)].tobytes()
        starts, stops = (self.starts - first).tolist(), (self.stops - first).tolist()
        return (
            None if stop < start else whole[start:stop]
            for start, stop in zip(starts, stops, strict=True)
        )

    def full(self) -> list[bytes]:
        """Each, empty where there is none."""
        return [each or b"" for each in self]

    @property
    def lengths(self) -> Int64s:
        """Of each, -1 where there is none."""
        return self.stops - self.starts

    def utf8_size(self) -> int | None:
        """Bytes of them, which are `lines`; None if they, or what is between, are no UTF-8."""
        size = int(_survey(self.text, self.starts, self.stops))
        if size < 0:
            try:
                self.text[int(self.starts.min()) : int(self.stops.max())].tobytes().decode()
            except UnicodeDecodeError:
                return None
        return abs(size)

    def take(self, rows: Int64s | slice) -> Payloads:
        """Some of them, the same buffer."""
        return Payloads(self.text, self.starts[rows], self.stops[rows], self.lined)

    def lines(self) -> Payloads:
        """The same, none as empty, with a newline after each."""
        if self.lined:
            return self
        lengths = np.maximum(self.lengths, 0)
        ends = np.cumsum(lengths + 1)
        out = np.empty(int(ends[-1]) if len(self) else 0, np.uint8)
        _write_lines(self.text, self.starts, self.starts + lengths, out)
        return Payloads(out, ends - lengths - 1, ends - 1, lined=True)

    def joined(self) -> tuple[Int64s, Bytes]:
        """One right after the other, none as empty: the n + 1 bounds, and the bytes."""
        lengths = np.maximum(self.lengths, 0)
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        out = np.empty(int(bounds[-1]), np.uint8)
        _write(self.text, self.starts, lengths, out)
        return bounds, out


_BYTES = "Array(uint8, 1, 'C', readonly=True)"
_BOUNDS = "Array(int64, 1, 'A', readonly=True)"


@kernel("void(int64[::1], int64[::1], int64[::1])")
def _lay_out(lengths, starts, stops):  # type: ignore[no-untyped-def]
    """Where texts of these lengths begin and end that lie a newline apart."""
    at = 0
    for i in range(len(lengths)):
        starts[i], stops[i] = at, at + lengths[i]
        at += max(lengths[i], 0) + 1


@kernel(f"void({_BYTES}, {_BOUNDS}, {_BOUNDS}, uint8[::1])")
def _write_lines(text, starts, stops, out):  # type: ignore[no-untyped-def]
    """Each text, and a newline after it."""
    at, text, out = 0, borrow(text), borrow(out)
    for i in range(len(starts)):
        copy_bytes(out, at, text, starts[i], stops[i] - starts[i])
        at += stops[i] - starts[i]
        out[at] = _NEWLINE
        at += 1


@kernel(f"void({_BYTES}, {_BOUNDS}, {_BOUNDS}, uint8[::1])")
def _write(text, starts, lengths, out):  # type: ignore[no-untyped-def]
    """Each text."""
    at, text, out = 0, borrow(text), borrow(out)
    for i in range(len(starts)):
        copy_bytes(out, at, text, starts[i], lengths[i])
        at += lengths[i]


@kernel(f"int64({_BYTES}, {_BOUNDS}, {_BOUNDS})")
def _survey(text, starts, stops):  # type: ignore[no-untyped-def]
    """How many bytes there are, negative if one from the first to the last is not ASCII."""
    size, found, text = 0, np.uint8(0), borrow(text)
    first, last = starts[0], stops[0]
    for i in range(len(starts)):
        size += stops[i] - starts[i]
        first, last = min(first, starts[i]), max(last, stops[i])
    for i in range(first, last):
        found |= text[i]
    return size if found < 128 else -size
