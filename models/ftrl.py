"""FTRL-proximal logistic regression (McMahan et al., 2013) over binned, crossed and hashed inputs.

A *term* is one input or a cross of several; its cell is the mixed-radix number of the bins, and
each term adds the weight of one slot of the table to the log-odds. Slots are hashed by blocks of
eight neighbouring cells, so that nearby values share a cache line. Per slot the table holds z and
the root of the summed squared gradients; the weight they amount to is kept beside them in float32,
and it is that rounded weight which scores and is learnt from, so learner and version agree.

With a focus γ above 0 what is lost by an example predicted at p is (1 - p)^γ times its logarithmic
loss (Lin et al., *Focal Loss*, 2017). What such a model sums up to are not log-odds, but the two
are known by each other (Charoenphakdee et al., *On Focal Loss for Class-Posterior Probability
Estimation*, 2021).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.base import Floats, Labels
from models.calibration import importance, observe, probability, sigmoid
from streams.ident import mix
from streams.jit import borrow, kernel

Ints = npt.NDArray[np.int64]
Room = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float32]

_INPUTS, _TERMS, _PLACES, _MASK, _LISTS = range(5)
_BLOCK_BITS = 3
_BLOCK_MASK = 7
_SALT = 0x9E3779B97F4A7C15
_MEMORY = 10_000.0
ALPHA, BETA, L1, L2, OFFSET, FOCUS = range(6)
_BISECTIONS = 200


def _width(count: int) -> int:
    """The power of two that so many edges, and infinity, fit into: whole vectors to compare."""
    return 1 << count.bit_length()


def edge_places(edges: Sequence[int]) -> list[int]:
    """Where the edges of each input begin, and where the last one's end, given their numbers.

    >>> edge_places([5, 1])
    [0, 8, 10]
    """
    return [0, *itertools.accumulate(_width(count) for count in edges)]


def layout(
    columns: Sequence[int], edges: Sequence[int], terms: Sequence[Sequence[int]], bits: int
) -> Ints:
    """What the kernels read: counts, then each input's column, bins and edges, then the terms.

    `columns` and `edges` give each input's column and number of edges; `terms` the inputs of each
    term. An input's edges begin where `edge_places` says and have infinity after the last, and
    every term has as many places as the longest, filled with an input that is always in bin 0. Last
    comes, place by place, the first term that has an input there.
    """
    most = max((len(term) for term in terms), default=0)
    nothing = len(columns)
    counts = [count + 2 for count in edges]
    members = [[*term, *([nothing] * (most - len(term)))] for term in terms]
    radices = [[[*counts, 1][member] for member in places] for places in members]
    salts = [(_SALT * (term + 1)) % 2**63 for term in range(len(terms))]
    mask = (1 << (bits - _BLOCK_BITS)) - 1
    head = [len(columns), len(terms), most, mask]
    starts = edge_places(edges)
    tables = [np.array(table, np.int64).T.ravel() for table in (members, radices)]
    firsts = [
        next(term for term, inputs in enumerate(terms) if len(inputs) > place)
        for place in range(most)
    ]
    lists = [*head, *columns, *counts, *starts, *salts]
    return np.concatenate([np.array(lists, np.int64), *tables, np.array(firsts, np.int64)])


def room_for(plan: Ints) -> Room:
    """Room for one row: the slot of each term, the bin of each input, and bin 0 for no input."""
    return np.empty(int(plan[_INPUTS] + plan[_TERMS] + 1), np.int64)


@kernel("void(float64[:, ::1], int64, float64[::1], int64[::1], int64[::1])")
def _find_slots(x: Floats, row: int, edges: Floats, plan: Ints, room: Room) -> None:
    """Write the row's slot of each term, then its bin of each input, into `room`.

    A bin is the number of edges up to the value, counted over all of them: a few instructions for
    every sixteen edges, and no step waits for another, as those of a binary search do.
    """
    edges, plan, room = borrow(edges), borrow(plan), borrow(room)
    inputs = plan[_INPUTS]
    terms = plan[_TERMS]
    mask = np.uint64(plan[_MASK])
    columns = plan[_LISTS : _LISTS + inputs]
    counts = plan[_LISTS + inputs : _LISTS + 2 * inputs]
    starts = plan[_LISTS + 2 * inputs : _LISTS + 3 * inputs + 1]
    salts = plan[_LISTS + 3 * inputs + 1 : _LISTS + 3 * inputs + 1 + terms]
    members = plan[_LISTS + 3 * inputs + 1 + terms :]
    radices = members[terms * plan[_PLACES] :]
    firsts = radices[terms * plan[_PLACES] :]
    slots = room[:terms]
    bins = room[terms:]
    for i in range(inputs):
        value = x[row, columns[i]]
        own = edges[starts[i] : starts[i + 1]]
        found = 1
        for edge in range(len(own)):
            found += own[edge] <= value
        bins[i] = 0 if np.isnan(value) else min(found, counts[i] - 1)
    bins[inputs] = 0
    for t in range(terms):
        slots[t] = bins[members[t]]
    for place in range(1, plan[_PLACES]):
        start = place * terms
        for t in range(firsts[place], terms):
            slots[t] = slots[t] * radices[start + t] + bins[members[start + t]]
    for t in range(terms):
        block = np.uint64(slots[t] >> _BLOCK_BITS) + np.uint64(salts[t])
        hashed = mix(block) & mask
        within = np.uint64(slots[t] & _BLOCK_MASK)
        slots[t] = np.int64((hashed << np.uint64(_BLOCK_BITS)) | within)


@kernel("float64(float32[::1], int64, float64, int64[::1])")
def _total(weights: Weights, terms: int, offset: float, room: Room) -> float:
    """The raw log-odds of the slots in `room`; the last weight is the bias."""
    total = float(offset + np.float64(weights[len(weights) - 1]))
    for t in range(terms):
        total += float(weights[room[t]])
    return total


@kernel("float64(float64, float64)")
def unfocused(total: float, focus: float) -> float:
    """The log-odds that a total means which was learnt with a focus."""
    if focus == 0:
        return float(total)
    p, q = sigmoid(total), sigmoid(-total)
    return float(
        focus * np.log(p / q)
        + np.log(p - focus * q * np.log(q))
        - np.log(q - focus * p * np.log(p))
    )


def focused(log_odds: float, focus: float) -> float:
    """The total that means these log-odds.

    >>> round(unfocused(focused(-4.5, 2.0), 2.0), 9)
    -4.5
    """
    low, high = -abs(log_odds) - 1.0, abs(log_odds) + 1.0
    for _ in range(_BISECTIONS if focus else 0):
        middle = (low + high) / 2
        if unfocused(middle, focus) < log_odds:
            low = middle
        else:
            high = middle
    return high if focus else log_odds


@kernel("float64(float64, float64, float64)")
def _slope(total: float, y: float, focus: float) -> float:
    """What is lost more for a total that is a little higher."""
    p = sigmoid(total)
    if focus == 0:
        return float(p - y)
    q = sigmoid(-total)
    if y > 0:
        return float(q**focus * (focus * p * np.log(p) - q))
    return float(p**focus * (p - focus * q * np.log(q)))


@kernel(
    "void(float64[:, ::1], float64[::1], int64[::1], float64, float64, float32[::1],"
    " float64[::1], int64[::1], float64[::1])"
)
def predict(
    x: Floats,
    edges: Floats,
    plan: Ints,
    offset: float,
    focus: float,
    weights: Weights,
    published: Floats,
    room: Room,
    out: Floats,
) -> None:
    """The calibrated probability of each row of x into out (n,)."""
    for row in range(len(x)):
        _find_slots(x, row, edges, plan, room)
        raw = unfocused(_total(weights, plan[_TERMS], offset, room), focus)
        out[row] = probability(published, raw)


@kernel()
def _move(
    table: Floats,
    weights: Weights,
    slot: int,
    g: float,
    alpha_inverse: float,
    beta: float,
    l1: float,
    l2: float,
) -> None:
    """One coordinate's step for gradient g."""
    old = table[slot, 1]
    root = np.sqrt(old * old + g * g)
    z = table[slot, 0] + g - (root - old) * alpha_inverse * np.float64(weights[slot])
    table[slot, 0] = z
    table[slot, 1] = root
    shrunk = max(abs(z) - l1, 0.0)
    weight = shrunk / ((beta + root) * alpha_inverse + l2)
    weights[slot] = np.float32(-weight if z > 0 else weight)


def pace(table: Floats, rates: Floats, alpha: float) -> None:
    """Learn at another alpha from here on, with the weights there are: z is what gives them."""
    for rows, l1, l2 in ((table[:-1], rates[L1], rates[L2]), (table[-1:], 0.0, 0.0)):
        z, root = rows[:, 0], rows[:, 1]
        old, new = ((rates[BETA] + root) / each + l2 for each in (rates[ALPHA], alpha))
        shrunk = np.maximum(np.abs(z) - l1, 0.0)
        rows[:, 0] += np.sign(z) * (shrunk * (new / old) - shrunk)
    rates[ALPHA] = alpha


@kernel(
    "void(float64[:, ::1], int8[::1], float64[::1], float64[::1], int64[::1], float64[::1],"
    " float64[:, ::1], float32[::1], float64[::1], float64[::1], int64[::1], int64[::1])"
)
def learn(
    x: Floats,
    y: Labels,
    weight: Floats,
    edges: Floats,
    plan: Ints,
    rates: Floats,
    table: Floats,
    weights: Weights,
    averages: Floats,
    state: Floats,
    seen: Ints,
    room: Room,
) -> None:
    """Score, calibrate and learn each row in order.

    `averages` are the terms' mean weights over about the last 10,000 examples, which
    `contributions` compares with; `seen` counts the examples.
    """
    terms = plan[_TERMS]
    alpha_inverse = 1.0 / rates[ALPHA]
    beta = rates[BETA]
    bias = len(weights) - 1
    for row in range(len(x)):
        _find_slots(x, row, edges, plan, room)
        total = _total(weights, terms, rates[OFFSET], room)
        label = float(y[row])
        heavy = importance(state, label, weight[row])
        observe(state, unfocused(total, rates[FOCUS]), label, weight[row])
        seen[0] += 1
        pace = 1.0 / min(float(seen[0]), _MEMORY)
        g = _slope(total, label, rates[FOCUS]) * heavy
        for t in range(terms):
            slot = room[t]
            averages[t] += pace * (np.float64(weights[slot]) - averages[t])
            _move(table, weights, slot, g, alpha_inverse, beta, rates[L1], rates[L2])
        _move(table, weights, bias, g, alpha_inverse, beta, 0.0, 0.0)


@kernel(
    "void(float64[:, ::1], float64[::1], int64[::1], float64, float32[::1], float64[::1],"
    " int64[::1], float64[:, ::1])"
)
def contributions(
    x: Floats,
    edges: Floats,
    plan: Ints,
    offset: float,
    weights: Weights,
    averages: Floats,
    room: Room,
    out: Floats,
) -> None:
    """What each column adds to each row's raw log-odds, and last the base, into out (n, F + 1).

    The base is what the terms weigh on average. A term's weight above that is shared equally among
    its inputs: the Shapley values where a term has its average until all its inputs are known.
    """
    terms = plan[_TERMS]
    columns = plan[_LISTS : _LISTS + plan[_INPUTS]]
    members = plan[_LISTS + 3 * plan[_INPUTS] + 1 + terms :]
    base = float(offset + np.float64(weights[len(weights) - 1]))
    for t in range(terms):
        base += averages[t]
    for row in range(len(x)):
        _find_slots(x, row, edges, plan, room)
        out[row, :] = 0.0
        out[row, out.shape[1] - 1] = base
        for t in range(terms):
            size = 0
            for place in range(plan[_PLACES]):
                size += 1 if members[place * terms + t] < plan[_INPUTS] else 0
            share = (np.float64(weights[room[t]]) - averages[t]) / np.float64(size)
            for place in range(size):
                out[row, columns[members[place * terms + t]]] += share
