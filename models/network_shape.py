"""The sizes of a network: what its weights are, and what its kernels read of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]
INPUTS, NUMBERS, KNOTS, WIDTH, CROSSES, RANK, HIDDEN, BLOCKS = range(8)
KINDS, TOKENS, HEADS, SIZE, STARTS = range(8, 13)
ATTENTION = np.s_[KINDS:STARTS]
"""Where a plan has what attention is: all 0 where there is none."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a network: `slots` has, for each input, 0 for a number or a category's slots.

    Each of `tokens` has as many inputs besides, `kinds`, which are numbers; one kind is embedded
    alike in all. `heads` attend to them by queries, keys and values of `size`.
    """

    slots: tuple[int, ...]
    knots: int
    width: int
    crosses: int
    rank: int
    hidden: int
    blocks: int
    kinds: int = 0
    tokens: int = 0
    heads: int = 0
    size: int = 0

    @property
    def starts(self) -> list[int]:
        """The table's first row of each input and kind, and the rows it has before a spare one.

        >>> Shape((0, 5), knots=8, width=1, crosses=0, rank=1, hidden=1, blocks=0).starts
        [0, 9, 15]
        """
        return [0, *itertools.accumulate((slots or self.knots) + 1 for slots in self._tables)]

    @property
    def numeric(self) -> list[int]:
        """The table's first row of each input and kind that lies between knots."""
        return [at for at, slots in zip(self.starts, self._tables, strict=False) if not slots]

    @property
    def _tables(self) -> tuple[int, ...]:
        return (*self.slots, *(0,) * self.kinds)

    @property
    def across(self) -> int:
        """How many numbers x0 has."""
        return len(self.slots) * self.width + self.heads * self.size

    @property
    def means(self) -> int:
        """How many numbers are mean embeddings, and how often a token is there."""
        return len(self.slots) * self.width + self.tokens * (self.kinds * self.width + 1)

    def parts(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """What the weights are, in order: name and shape."""
        across = self.across
        yield "table", (self.starts[-1] + 1, self.width)
        if self.tokens:
            found, token = self.heads * self.size, self.kinds * self.width
            for name, given in (("query", across - found), ("key", token), ("value", token)):
                yield f"attention {name}", (given, found)
                yield f"attention {name} b", (found,)
        for layer in range(self.crosses):
            yield f"cross {layer} V", (across, self.rank)
            yield f"cross {layer} U", (self.rank, across)
            yield f"cross {layer} b", (across,)
        yield "dense W", (across, self.hidden)
        yield "dense b", (self.hidden,)
        for block in range(self.blocks):
            yield f"block {block} A", (self.hidden, self.hidden)
            yield f"block {block} a", (self.hidden,)
            yield f"block {block} B", (self.hidden, self.hidden)
            yield f"block {block} b", (self.hidden,)
        yield "out w", (self.hidden,)
        yield "out c", (1,)

    @property
    def weights(self) -> int:
        """How many there are."""
        return sum(math.prod(shape) for _, shape in self.parts())

    def views(self, weights: Singles) -> dict[str, Singles]:
        """The parts by name, as views of the whole."""
        parts = dict(self.parts())
        ends = itertools.accumulate(math.prod(shape) for shape in parts.values())
        pieces = np.split(weights, list(ends)[:-1])
        return {
            name: piece.reshape(shape)
            for (name, shape), piece in zip(parts.items(), pieces, strict=True)
        }

    def plan(self, columns: Sequence[int]) -> Ints:
        """What the kernels read: sizes, the rows where inputs begin, and each input's column."""
        numbers = sum(not slots for slots in self.slots)
        sizes = [len(self.slots), numbers, self.knots, self.width]
        sizes += [self.crosses, self.rank, self.hidden, self.blocks]
        sizes += [self.kinds, self.tokens, self.heads, self.size]
        return np.array([*sizes, *self.starts, *columns], np.int64)
