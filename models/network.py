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

import numpy as np

from models.base import Floats
from models.network_shape import (
    BLOCKS,
    CROSSES,
    HEADS,
    HIDDEN,
    INPUTS,
    KINDS,
    KNOTS,
    NUMBERS,
    RANK,
    SIZE,
    STARTS,
    TOKENS,
    WIDTH,
    Ints,
    Shape,
    Singles,
)
from streams.jit import borrow, kernel

PRIME = 2**31 - 1
MULTIPLIER = 1_103_515_245
FURTHEST = 2.0**53
LARGEST = float(np.finfo(np.float64).max)


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
    numbers, most = plan[NUMBERS], plan[KNOTS]
    starts = plan[STARTS:]
    inputs, kinds = plan[INPUTS], plan[KINDS]
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
    across = plan[INPUTS] * plan[WIDTH] + plan[HEADS] * plan[SIZE]
    return room[3 * (across + plan[HIDDEN]) + plan[RANK] :]


@kernel()
def _is_there(row: Ints, plan: Ints, token: int) -> float:
    """1 for a token that has any of its inputs, else 0."""
    inputs, kinds = plan[INPUTS], plan[KINDS]
    for kind in range(kinds):
        if row[inputs + token * kinds + kind] != plan[STARTS + inputs + kind + 1] - 1:
            return 1.0
    return 0.0


@kernel()
def _fill(
    row: Ints, share: Singles, plan: Ints, weights: Singles, own: Singles, past: Singles
) -> None:
    """The embeddings of one row's inputs and tokens, and which tokens are there."""
    inputs, width = plan[INPUTS], plan[WIDTH]
    _embed(row[:inputs], share[:inputs], width, weights, own)
    _embed(row[inputs:], share[inputs:], width, weights, past)
    there = past[(len(row) - inputs) * width :]
    for token in range(plan[TOKENS]):
        there[token] = _is_there(row, plan, token)


@kernel()
def _attend(plan: Ints, weights: Singles, own: Singles, past: Singles, out: Singles) -> None:
    """What each head finds among the tokens, by the embeddings of the inputs, into out."""
    tokens, size, width = plan[TOKENS], plan[SIZE], plan[KINDS] * plan[WIDTH]
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
    rank, hidden, own = plan[RANK], plan[HIDDEN], plan[INPUTS] * plan[WIDTH]
    across = own + plan[HEADS] * plan[SIZE]
    x0, x, y = room[:across], room[across : 2 * across], room[2 * across : 3 * across]
    between = room[3 * across :]
    t, h = between[:rank], between[rank : rank + hidden]
    g, f = between[rank + hidden :][:hidden], between[rank + 2 * hidden :][:hidden]
    rest = weights[(plan[STARTS + plan[INPUTS] + plan[KINDS]] + 1) * plan[WIDTH] :]
    if plan[TOKENS]:
        _attend(plan, rest, x0[:own], _past(plan, room), x0[own:])
        rest = rest[(own + 2 * plan[KINDS] * plan[WIDTH] + 3) * (across - own) :]
    x[:] = x0
    for _ in range(plan[CROSSES]):
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
    for _ in range(plan[BLOCKS]):
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
    width, own, located = plan[WIDTH], plan[INPUTS] * plan[WIDTH], rows.shape[1]
    past, ahead = _past(plan, room), located * plan[WIDTH] - own
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
                    token = (j - plan[INPUTS]) // plan[KINDS]
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
    own, width = plan[INPUTS] * plan[WIDTH], plan[KINDS] * plan[WIDTH]
    past, there = each[own:], each[len(out) - plan[TOKENS] :]
    sums = np.zeros(len(out))
    for i in range(len(rows)):
        _fill(rows[i], shares[i], plan, weights, each, past)
        for token in range(plan[TOKENS]):
            past[token * width : (token + 1) * width] *= there[token]
        sums += each
    sums /= max(len(rows), 1)
    for token in range(plan[TOKENS]):
        share = sums[len(out) - plan[TOKENS] + token]
        if share > 0:
            sums[own + token * width : own + (token + 1) * width] /= share
    out[:] = sums
