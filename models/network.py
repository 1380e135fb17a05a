"""A small cross network over embedded inputs, as it scores: one row after another, no torch.

Every input has rows of one table. A number lies between two knots and takes what is between their
two rows, in proportion; a category has the row that it hashes to; what is missing has a row of its
own. Side by side these embeddings are x0, and then come

    attention         x0 = x0, the heads' (softmax(q K') V)         (Vaswani et al., 2017)
    cross layers      x = x0 * (x V U + b) + x       (Wang et al., *DCN V2*, 2021, of low rank)
    a dense layer     h = relu(x W + b)
    residual blocks   h = h + relu(h A + a) B + b
    the log-odds      h w + c

Attention is there where the last events are inputs: each is a token, its embeddings side by side. q
is made of x0, K and V of the tokens that are there; beside them stands a key of zeros with a value
of zeros, so that a head may look at nothing, and does where there is no event.

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
_INPUTS, _NUMBERS, _KNOTS, _WIDTH, _CROSSES, _RANK, _HIDDEN, _BLOCKS = range(8)
_KINDS, _TOKENS, _HEADS, _SIZE, _STARTS = range(8, 13)
ATTENTION = np.s_[_KINDS:_STARTS]
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


def room_for(shape: Shape) -> Singles:
    """Room for one row: x0, x, its crossing, what lies between, three hidden layers, the tokens,
    how much each is there, and what a head makes of them.
    """
    token = shape.kinds * shape.width
    attention = shape.tokens * (token + 2) + shape.heads * shape.size + 2 * token
    return np.empty(3 * shape.across + shape.rank + 3 * shape.hidden + attention, np.float32)


@kernel("void(float64[:, ::1], int64[::1], float64[:, ::1], int64[:, ::1], float32[:, ::1])")
def locate(x: Floats, plan: Ints, knots: Floats, rows: Ints, shares: Singles) -> None:
    """Where inputs (n, columns) lie in the table: row, and share of the next one, (n, inputs).

    Unused knots are infinite. Beyond the outermost knots a number lies on them.
    """
    x, plan, knots = borrow(x), borrow(plan), borrow(knots)
    numbers, most = plan[_NUMBERS], plan[_KNOTS]
    starts = plan[_STARTS:]
    inputs, kinds = plan[_INPUTS], plan[_KINDS]
    columns = starts[inputs + kinds + 1 :]
    for i in range(len(x)):
        for j in range(len(columns)):
            own = j if j < inputs else inputs + (j - inputs) % kinds
            value, start = x[i, columns[j]], starts[own]
            missing = starts[own + 1] - 1
            shares[i, j] = 0.0
            if np.isnan(value):
                rows[i, j] = missing
            elif numbers <= own < inputs:
                code = np.int64(np.floor(min(max(value, -FURTHEST), FURTHEST))) % PRIME
                rows[i, j] = start + code * MULTIPLIER % PRIME % (missing - start)
            else:
                value = min(max(value, -LARGEST), LARGEST)
                at, end = np.int64(0), most
                own -= inputs - numbers if own >= inputs else 0
                while end - at > 1:
                    middle = (at + end) // 2
                    if knots[own, middle] <= value:
                        at = middle
                    else:
                        end = middle
                rows[i, j] = start + at
                low = knots[own, at]
                if value > low and end < most and knots[own, end] < np.inf:
                    shares[i, j] = (value - low) / (knots[own, end] - low)


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
def _past(plan: Ints, room: Singles) -> Singles:
    """Where a row's tokens are in its room, then how much each is there."""
    across = plan[_INPUTS] * plan[_WIDTH] + plan[_HEADS] * plan[_SIZE]
    return room[3 * (across + plan[_HIDDEN]) + plan[_RANK] :]


@kernel()
def _is_there(row: Ints, plan: Ints, token: int) -> float:
    """1 for a token that has any of its inputs, else 0."""
    inputs, kinds = plan[_INPUTS], plan[_KINDS]
    for kind in range(kinds):
        if row[inputs + token * kinds + kind] != plan[_STARTS + inputs + kind + 1] - 1:
            return 1.0
    return 0.0


@kernel()
def _fill(
    row: Ints, share: Singles, plan: Ints, weights: Singles, own: Singles, past: Singles
) -> None:
    """The embeddings of one row's inputs and tokens, and which tokens are there."""
    inputs, width = plan[_INPUTS], plan[_WIDTH]
    _embed(row[:inputs], share[:inputs], width, weights, own)
    _embed(row[inputs:], share[inputs:], width, weights, past)
    there = past[(len(row) - inputs) * width :]
    for token in range(plan[_TOKENS]):
        there[token] = _is_there(row, plan, token)


@kernel()
def _attend(plan: Ints, weights: Singles, own: Singles, past: Singles, out: Singles) -> None:
    """What each head finds among the tokens, by the embeddings of the inputs, into out."""
    tokens, size, width = plan[_TOKENS], plan[_SIZE], plan[_KINDS] * plan[_WIDTH]
    across = len(out)
    there, rest = past[tokens * width :], past[tokens * (width + 1) :]
    q, u = rest[:across], rest[across : across + width]
    mean, share = rest[across + width : across + 2 * width], rest[across + 2 * width :]
    q[:] = weights[len(own) * across : (len(own) + 1) * across]
    _add_product(own, weights, q)
    keys = weights[(len(own) + 1) * across :]
    values = keys[(width + 1) * across :]
    scale = np.float32(1.0 / np.sqrt(size))
    for first in range(0, across, size):
        bias = np.float32(0.0)
        for j in range(first, first + size):
            bias += keys[width * across + j] * q[j]
        for i in range(width):
            u[i] = 0.0
            for j in range(first, first + size):
                u[i] += keys[i * across + j] * q[j]
        largest = np.float32(0.0)
        for n in range(tokens):
            if there[n] > 0:
                score = bias
                for i in range(width):
                    score += past[n * width + i] * u[i]
                share[n] = score * scale
                largest = max(largest, share[n])
        total = np.exp(-largest)
        for n in range(tokens):
            if there[n] > 0:
                share[n] = there[n] * np.exp(share[n] - largest)
                total += share[n]
        mean[:] = 0.0
        found = np.float32(0.0)
        for n in range(tokens):
            if there[n] > 0:
                part = share[n] / total
                found += part
                for i in range(width):
                    mean[i] += part * past[n * width + i]
        for j in range(first, first + size):
            out[j] = found * values[width * across + j]
        for i in range(width):
            for j in range(first, first + size):
                out[j] += mean[i] * values[i * across + j]


@kernel()
def _apply(plan: Ints, weights: Singles, room: Singles) -> float:
    """The log-odds of the embeddings that `room` has."""
    rank, hidden, own = plan[_RANK], plan[_HIDDEN], plan[_INPUTS] * plan[_WIDTH]
    across = own + plan[_HEADS] * plan[_SIZE]
    x0, x, y = room[:across], room[across : 2 * across], room[2 * across : 3 * across]
    between = room[3 * across :]
    t, h = between[:rank], between[rank : rank + hidden]
    g, f = between[rank + hidden :][:hidden], between[rank + 2 * hidden :][:hidden]
    rest = weights[(plan[_STARTS + plan[_INPUTS] + plan[_KINDS]] + 1) * plan[_WIDTH] :]
    if plan[_TOKENS]:
        _attend(plan, rest, x0[:own], _past(plan, room), x0[own:])
        rest = rest[(own + 2 * plan[_KINDS] * plan[_WIDTH] + 3) * (across - own) :]
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
    past = _past(plan, room)
    for i in range(len(rows)):
        _fill(rows[i], shares[i], plan, weights, room, past)
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
    """What each input adds to each row's log-odds, and last the base, into out (n, located + 1).

    The base is what the mean embeddings have. From there to the row one input after another gets
    its own, and what the log-odds change by then is its; and again in the other order, for the mean
    of both. That is two passes an input. A token counts as much as it is there on the mean, until
    the first of its inputs has come.
    """
    width, own, located = plan[_WIDTH], plan[_INPUTS] * plan[_WIDTH], rows.shape[1]
    past, ahead = _past(plan, room), located * plan[_WIDTH] - own
    for i in range(len(rows)):
        for backward in range(2):
            room[:own] = means[:own]
            past[: len(means) - own] = means[own:]
            before = base = _apply(plan, weights, room)
            for step in range(located):
                j = located - 1 - step if backward else step
                at = j * width
                to = room[at:] if at < own else past[at - own :]
                _embed(rows[i, j : j + 1], shares[i, j : j + 1], width, weights, to)
                if at >= own:
                    token = (j - plan[_INPUTS]) // plan[_KINDS]
                    past[ahead + token] = _is_there(rows[i], plan, token)
                after = _apply(plan, weights, room)
                half = 0.5 * (after - before)
                out[i, j] = out[i, j] + half if backward else half
                before = after
            out[i, located] = base


@kernel("void(int64[:, ::1], float32[:, ::1], int64[::1], float32[::1], float32[::1])")
def mean_embeddings(
    rows: Ints, shares: Singles, plan: Ints, weights: Singles, out: Singles
) -> None:
    """The mean of each input's embedding over located rows, into out, of `Shape.means`.

    A token's are means over the rows that have it, and last comes what share of the rows these are.
    """
    each = np.empty(len(out), np.float32)
    own, width = plan[_INPUTS] * plan[_WIDTH], plan[_KINDS] * plan[_WIDTH]
    past, there = each[own:], each[len(out) - plan[_TOKENS] :]
    sums = np.zeros(len(out))
    for i in range(len(rows)):
        _fill(rows[i], shares[i], plan, weights, each, past)
        for token in range(plan[_TOKENS]):
            past[token * width : (token + 1) * width] *= there[token]
        sums += each
    sums /= max(len(rows), 1)
    for token in range(plan[_TOKENS]):
        share = sums[len(out) - plan[_TOKENS] + token]
        if share > 0:
            sums[own + token * width : own + (token + 1) * width] /= share
    out[:] = sums
