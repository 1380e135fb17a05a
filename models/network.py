"""A small cross network over embedded inputs, as it scores: one row after another, no torch.

Every input has rows of one table. A number lies between two knots and takes what is between their
two rows, in proportion; a category has the row that it hashes to; what is missing has a row of its
own. Side by side these embeddings are x0, and then come

    cross layers      x = x0 * (x V U + b) + x       (Wang et al., *DCN V2*, 2021, of low rank)
    a dense layer     h = relu(x W + b)
    residual blocks   h = h + relu(h A + a) B + b
    the log-odds      h w + c

Weights are one float32 vector: the table, then the layers in this order, each matrix by its inputs.
Sums run over inputs, in order, for all outputs at once, which vector instructions do to the same
bits as a loop does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.base import Floats
from streams.jit import borrow, kernel

Ints = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]
PRIME = 2**31 - 1
MULTIPLIER = 1_103_515_245
FURTHEST = 2.0**53
LARGEST = float(np.finfo(np.float64).max)
_INPUTS, _NUMBERS, _KNOTS, _WIDTH, _CROSSES, _RANK, _HIDDEN, _BLOCKS, _STARTS = range(9)


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a network: `slots` has, for each input, 0 for a number or a category's slots."""

    slots: tuple[int, ...]
    knots: int
    width: int
    crosses: int
    rank: int
    hidden: int
    blocks: int

    @property
    def starts(self) -> list[int]:
        """The table's first row of each input, and how many rows it has before a last, spare one.

        >>> Shape((0, 5), knots=8, width=1, crosses=0, rank=1, hidden=1, blocks=0).starts
        [0, 9, 15]
        """
        return [0, *itertools.accumulate((slots or self.knots) + 1 for slots in self.slots)]

    def parts(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """What the weights are, in order: name and shape."""
        across = len(self.slots) * self.width
        yield "table", (self.starts[-1] + 1, self.width)
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
        return np.array([*sizes, *self.starts, *columns], np.int64)


def room_for(shape: Shape) -> Singles:
    """Room for one row: x0, x, its crossing, what lies between, and three hidden layers."""
    across = len(shape.slots) * shape.width
    return np.empty(3 * across + shape.rank + 3 * shape.hidden, np.float32)


@kernel("void(float64[:, ::1], int64[::1], float64[:, ::1], int64[:, ::1], float32[:, ::1])")
def locate(x: Floats, plan: Ints, knots: Floats, rows: Ints, shares: Singles) -> None:
    """Where inputs (n, columns) lie in the table: row, and share of the next one, (n, inputs).

    Unused knots are infinite. Beyond the outermost knots a number lies on them.
    """
    x, plan, knots = borrow(x), borrow(plan), borrow(knots)
    numbers, most = plan[_NUMBERS], plan[_KNOTS]
    starts = plan[_STARTS:]
    columns = plan[_STARTS + plan[_INPUTS] + 1 :]
    for i in range(len(x)):
        for j in range(plan[_INPUTS]):
            value, start = x[i, columns[j]], starts[j]
            missing = starts[j + 1] - 1
            shares[i, j] = 0.0
            if np.isnan(value):
                rows[i, j] = missing
            elif j >= numbers:
                code = np.int64(np.floor(min(max(value, -FURTHEST), FURTHEST))) % PRIME
                rows[i, j] = start + code * MULTIPLIER % PRIME % (missing - start)
            else:
                value = min(max(value, -LARGEST), LARGEST)
                at, end = np.int64(0), most
                while end - at > 1:
                    middle = (at + end) // 2
                    if knots[j, middle] <= value:
                        at = middle
                    else:
                        end = middle
                rows[i, j] = start + at
                low = knots[j, at]
                if value > low and end < most and knots[j, end] < np.inf:
                    shares[i, j] = (value - low) / (knots[j, end] - low)


@kernel()
def _embed(row: Ints, share: Singles, width: int, weights: Singles, x0: Singles) -> None:
    """The embeddings of one row's inputs, side by side."""
    for j in range(len(row)):
        part = share[j]
        here = weights[row[j] * width : (row[j] + 1) * width]
        there = weights[(row[j] + 1) * width : (row[j] + 2) * width]
        out = x0[j * width : (j + 1) * width]
        for k in range(width):
            out[k] = here[k] + part * (there[k] - here[k])


@kernel()
def _add_product(x: Singles, matrix: Singles, out: Singles) -> None:
    """Add x times the matrix, row after row, to out: four rows for each time that out is kept."""
    width, fours = len(out), len(x) // 4 * 4
    for i in range(0, fours, 4):
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        row = matrix[i * width : (i + 4) * width]
        one, two = row[:width], row[width : 2 * width]
        three, four = row[2 * width : 3 * width], row[3 * width :]
        for j in range(width):
            out[j] = out[j] + a * one[j] + b * two[j] + c * three[j] + d * four[j]
    for i in range(fours, len(x)):
        value, row = x[i], matrix[i * width : (i + 1) * width]
        for j in range(width):
            out[j] += value * row[j]


@kernel()
def _apply(plan: Ints, weights: Singles, room: Singles) -> float:
    """The log-odds of the x0 that `room` begins with."""
    rank, hidden, across = plan[_RANK], plan[_HIDDEN], plan[_INPUTS] * plan[_WIDTH]
    x0, x, y = room[:across], room[across : 2 * across], room[2 * across : 3 * across]
    between = room[3 * across :]
    t, h = between[:rank], between[rank : rank + hidden]
    g, f = between[rank + hidden : rank + 2 * hidden], between[rank + 2 * hidden :]
    rest = weights[(plan[_STARTS + plan[_INPUTS]] + 1) * plan[_WIDTH] :]
    x[:] = x0
    for _ in range(plan[_CROSSES]):
        t[:] = 0.0
        _add_product(x, rest, t)
        rest = rest[across * rank :]
        y[:] = rest[rank * across : (rank + 1) * across]
        _add_product(t, rest, y)
        for j in range(across):
            x[j] += x0[j] * y[j]
        rest = rest[(rank + 1) * across :]
    h[:] = rest[across * hidden : (across + 1) * hidden]
    _add_product(x, rest, h)
    for j in range(hidden):
        h[j] = max(h[j], np.float32(0.0))
    rest = rest[(across + 1) * hidden :]
    for _ in range(plan[_BLOCKS]):
        g[:] = rest[hidden * hidden : (hidden + 1) * hidden]
        _add_product(h, rest, g)
        for j in range(hidden):
            g[j] = max(g[j], np.float32(0.0))
        rest = rest[(hidden + 1) * hidden :]
        f[:] = rest[hidden * hidden : (hidden + 1) * hidden]
        _add_product(g, rest, f)
        for j in range(hidden):
            h[j] += f[j]
        rest = rest[(hidden + 1) * hidden :]
    raw = np.float64(rest[hidden])
    for j in range(hidden):
        raw += np.float64(h[j]) * np.float64(rest[j])
    return float(raw)


@kernel(
    "void(int64[:, ::1], float32[:, ::1], int64[::1], float32[::1], float64, float32[::1],"
    " float64[::1])"
)
def predict(
    rows: Ints,
    shares: Singles,
    plan: Ints,
    weights: Singles,
    offset: float,
    room: Singles,
    out: Floats,
) -> None:
    """The log-odds of located rows, and an offset, into out (n,)."""
    rows, shares, plan = borrow(rows), borrow(shares), borrow(plan)
    weights, room = borrow(weights), borrow(room)
    for i in range(len(rows)):
        _embed(rows[i], shares[i], plan[_WIDTH], weights, room)
        out[i] = _apply(plan, weights, room) + offset


@kernel(
    "void(int64[:, ::1], float32[:, ::1], int64[::1], float32[::1], float32[::1], float32[::1],"
    " float64[:, ::1])"
)
def contributions(
    rows: Ints,
    shares: Singles,
    plan: Ints,
    weights: Singles,
    means: Singles,
    room: Singles,
    out: Floats,
) -> None:
    """What each input adds to each row's log-odds, and last the base, into out (n, inputs + 1).

    The base is what the mean embeddings have. From there to the row one input after another gets
    its own, and what the log-odds change by then is its; and again in the other order, for the mean
    of both. That is two passes an input.
    """
    width, inputs = plan[_WIDTH], plan[_INPUTS]
    x0 = room[: inputs * width]
    for i in range(len(rows)):
        for backward in range(2):
            x0[:] = means
            before = base = _apply(plan, weights, room)
            for step in range(inputs):
                j = inputs - 1 - step if backward else step
                own = x0[j * width : (j + 1) * width]
                _embed(rows[i, j : j + 1], shares[i, j : j + 1], width, weights, own)
                after = _apply(plan, weights, room)
                half = 0.5 * (after - before)
                out[i, j] = out[i, j] + half if backward else half
                before = after
            out[i, inputs] = base


@kernel("void(int64[:, ::1], float32[:, ::1], int64[::1], float32[::1], float32[::1])")
def mean_embeddings(
    rows: Ints, shares: Singles, plan: Ints, weights: Singles, out: Singles
) -> None:
    """The mean of each input's embedding over located rows, into out (inputs * width,)."""
    own = np.empty(len(out), np.float32)
    sums = np.zeros(len(out))
    for i in range(len(rows)):
        _embed(rows[i], shares[i], plan[_WIDTH], weights, own)
        sums += own
    out[:] = sums / max(len(rows), 1)
