"""Mondrian trees that are aggregated over all their prunings, learnt event by event.

Mourtada, Gaïffas and Scornet, *AMF: Aggregated Mondrian Forests for Online Learning*, 2021. A node
has a box round the examples that came through it. One that falls outside the box splits the node at
a random time that is earlier the further outside it is; the split is kept if the node's own is
later. Every node predicts by the share of positives that came through it, and a tree by the mean
over all its prunings, each weighted by how well it has predicted: Willems, Shtarkov and Tjalkens'
context tree weighting (1995), so that depth need not be chosen.

Three things are other than theirs. A node begins from the prediction of the one above it, not from
one half. A leaf of one class is cut within its box by the first example of the other: it waited for
that, and what came since would else have stretched its box over places that it never parts. And an
input is cut by the more readily the more loss cuts by it have saved, each example judged before it
was learnt; by distance alone most cuts go to inputs that say nothing.

A tree has a place for so many nodes; once they are used up it splits no more and goes on learning
in the nodes it has.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from models.base import Floats, Labels
from streams.draw import uniform
from streams.jit import kernel

Links = npt.NDArray[np.int32]
Boxes = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CHILD, FEATURE = range(2)
"""Words of a node's links: its left child, the right one being the next; 0 for a leaf."""
TIME, CUT, WEIGHT, TREE, OWN, NEGATIVE, POSITIVE = range(7)
"""Words of a node: when it was made, where it is cut, the log weight of its own prediction and of
the best mixture below it, the share of the former in the latter, and the examples it has seen."""
USED, RANDOM = range(2)
"""Words of a tree."""
SAVED, PASSED = range(2)
"""Of a tree's input: the loss that cuts by it have saved, and the examples that passed them."""
STEP, SMOOTHING, PRIOR, EVEN = range(4)
"""What a forest is grown by."""
DEEPEST = 256
"""An example is learnt by so many nodes on its way down at most."""
_LOG_2 = math.log(2.0)
_ALONE = 40.0
"""A weight that is e to this many times another is not changed by adding it."""
_DOUBT = 10.0
"""Examples that an input is taken to have passed without saving anything."""


def nodes_of(trees: int, nodes: int, inputs: int) -> tuple[Links, Floats, Boxes, Floats]:
    """Room for links, values, boxes and merits of a forest."""
    return (
        np.zeros((trees, nodes, 2), np.int32),
        np.zeros((trees, nodes, 7)),
        np.zeros((trees, nodes, 2 * inputs), np.float32),
        np.zeros((trees, inputs, 2)),
    )


def book_of(trees: int, seed: int) -> Ints:
    """The trees' own words, of trees without any node."""
    book = np.zeros((trees, 2), np.int64)
    rng = np.random.default_rng(seed)
    book[:, RANDOM] = rng.integers(1, 2**62, trees)
    return book


@kernel()
def share(values: Floats, node: int, above: float, rates: Floats) -> float:
    """The probability that a node predicts, given the one that the node above it does."""
    positive = values[node, POSITIVE] + rates[SMOOTHING] * above
    negative = values[node, NEGATIVE] + rates[SMOOTHING] * (1.0 - above)
    return float(positive / (positive + negative))


@kernel()
def _outside(boxes: Boxes, node: int, z: Boxes, row: int) -> bool:
    """Whether an example is outside a node's box."""
    inputs = z.shape[1]
    outside = 0
    for f in range(inputs):
        outside += (z[row, f] < boxes[node, f]) | (z[row, f] > boxes[node, inputs + f])
    return outside > 0


@kernel()
def _reach(boxes: Boxes, node: int, z: Boxes, row: int, f: int, outside: bool) -> float:
    """Where a node may be cut by one input: how far outside its box an example is, or the box."""
    low, high = np.float64(boxes[node, f]), np.float64(boxes[node, z.shape[1] + f])
    value = np.float64(z[row, f])
    beyond = max(float(low - value), float(value - high), 0.0)
    return beyond if outside else float(high - low)


@kernel()
def _stretch(boxes: Boxes, node: int, z: Boxes, row: int) -> None:
    """Make a node's box take in an example."""
    inputs = z.shape[1]
    for f in range(inputs):
        boxes[node, f] = min(boxes[node, f], z[row, f])
        boxes[node, inputs + f] = max(boxes[node, inputs + f], z[row, f])


@kernel()
def _begin(
    links: Links, values: Floats, boxes: Boxes, node: int, time: float, z: Boxes, row: int
) -> None:
    """Make a leaf with nothing but an example in its box."""
    links[node, :] = 0
    values[node, :] = 0.0
    values[node, TIME] = time
    values[node, OWN] = 1.0
    inputs = z.shape[1]
    for f in range(inputs):
        boxes[node, f] = z[row, f]
        boxes[node, inputs + f] = z[row, f]


@kernel()
def _weigh(merits: Floats, even: float, pull: Floats) -> None:
    """How readily each input is cut by, 1 on average: an even part, the rest by what was saved."""
    total = 0.0
    for f in range(len(pull)):
        pull[f] = max(merits[f, SAVED], 0.0) / (merits[f, PASSED] + _DOUBT)
        total += pull[f]
    for f in range(len(pull)):
        earned = pull[f] * len(pull) / total if total > 0 else 1.0
        pull[f] = even + (1.0 - even) * earned


@kernel()
def _split(
    links: Links,
    values: Floats,
    boxes: Boxes,
    own: Ints,
    node: int,
    z: Boxes,
    row: int,
    outside: bool,
    pull: Floats,
) -> int:
    """Put a node's own content below it, with the example in a new leaf beside; that leaf.

    0 if there is nowhere to cut, or if it would be after the split that the node has. `own` are the
    tree's words.
    """
    inputs = z.shape[1]
    extent = 0.0
    for f in range(inputs):
        extent += pull[f] * _reach(boxes, node, z, row, f, outside)
    if extent <= 0:
        return 0
    time = values[node, TIME] - np.log(uniform(own, RANDOM)) / extent
    if links[node, CHILD] != 0 and time >= values[links[node, CHILD], TIME]:
        return 0
    left = extent * uniform(own, RANDOM)
    chosen = 0
    for f in range(inputs):
        part = pull[f] * _reach(boxes, node, z, row, f, outside)
        if part > 0:
            chosen = f
            left -= part
            if left < 0:
                break
    value = np.float64(z[row, chosen])
    low, high = np.float64(boxes[node, chosen]), np.float64(boxes[node, inputs + chosen])
    if outside:
        low, high = (high, value) if value > high else (value, low)
    cut = min(max(low + (high - low) * uniform(own, RANDOM), low), high)
    # A cut between neighbouring numbers must still part them: x <= cut goes left.
    cut = low if cut >= high else cut
    right = value > cut
    child = own[USED]
    own[USED] += 2
    moved = child + (0 if right else 1)
    new = child + (1 if right else 0)
    links[moved, :] = links[node, :]
    values[moved, :] = values[node, :]
    values[moved, TIME] = time
    boxes[moved, :] = boxes[node, :]
    if not outside:
        boxes[moved, chosen + (inputs if right else 0)] = np.float32(cut)
    _begin(links, values, boxes, new, time, z, row)
    links[node, CHILD] = child
    links[node, FEATURE] = chosen
    values[node, CUT] = cut
    return int(new)


@kernel()
def _learn(
    links: Links,
    values: Floats,
    boxes: Boxes,
    merits: Floats,
    own: Ints,
    z: Boxes,
    row: int,
    y: int,
    weight: float,
    rates: Floats,
    path: Ints,
    pull: Floats,
) -> None:
    """Carry an example down a tree, and the weights of what it passed up again."""
    if own[USED] == 0:
        own[USED] = 1
        _begin(links, values, boxes, 0, 0.0, z, row)
    same, other = (POSITIVE, NEGATIVE) if y else (NEGATIVE, POSITIVE)
    node = depth = 0
    above, before, by = rates[PRIOR], 0.0, -1
    while True:
        path[depth] = node
        depth += 1
        above = share(values, node, above, rates)
        gain = weight * np.log(above if y else 1.0 - above)
        if by >= 0:
            merits[by, SAVED] += gain - before
            merits[by, PASSED] += weight
        before = gain
        child = links[node, CHILD]
        outside = _outside(boxes, node, z, row)
        first = child == 0 and values[node, same] == 0
        new = 0
        room = own[USED] + 2 <= len(links) and depth < DEEPEST
        if values[node, other] > 0 and (outside or first) and room:
            _weigh(merits, rates[EVEN], pull)
            new = _split(links, values, boxes, own, node, z, row, outside, pull)
        if outside:
            _stretch(boxes, node, z, row)
        values[node, WEIGHT] += rates[STEP] * gain
        values[node, same] += weight
        if new > 0:
            values[new, same] += weight
            path[depth] = new
            depth += 1
        if new > 0 or child == 0 or depth == DEEPEST:
            break
        by = links[node, FEATURE]
        node = child + (np.float64(z[row, by]) > values[node, CUT])
    for place in range(depth - 1, -1, -1):
        node = path[place]
        alone = values[node, WEIGHT]
        child = links[node, CHILD]
        if child == 0:
            values[node, TREE] = alone
            continue
        below = values[child, TREE] + values[child + 1, TREE]
        apart = alone - below
        if apart > _ALONE:
            values[node, TREE], values[node, OWN] = alone - _LOG_2, 1.0
        elif apart < -_ALONE:
            values[node, TREE], values[node, OWN] = below - _LOG_2, 0.0
        else:
            ratio = np.exp(-abs(apart))
            values[node, TREE] = max(alone, below) + np.log1p(ratio) - _LOG_2
            values[node, OWN] = (1.0 if apart > 0 else ratio) / (1.0 + ratio)


@kernel(
    "void(float32[:, ::1], int8[::1], float64[::1], float64[::1], int32[:, :, ::1],"
    " float64[:, :, ::1], float32[:, :, ::1], float64[:, :, ::1], int64[:, ::1], float64[::1])"
)
def learn(
    z: Boxes,
    y: Labels,
    weight: Floats,
    rates: Floats,
    links: Links,
    values: Floats,
    boxes: Boxes,
    merits: Floats,
    book: Ints,
    out: Floats,
) -> None:
    """Score each row of z (n, F) by the mean of the trees into out (n,), then learn it, in order.

    Trees know nothing of each other, so one after the other goes through all rows.
    """
    out[:] = 0.0
    path, pull = np.empty(DEEPEST, np.int64), np.empty(z.shape[1])
    for tree in range(len(book)):
        own_links, own_values = links[tree], values[tree]
        for row in range(len(z)):
            rest, total, node, above = 1.0, 0.0, 0, rates[PRIOR]
            if book[tree, USED] == 0:
                total = above
                rest = 0.0
            while rest > 0:
                child = own_links[node, CHILD]
                above = share(own_values, node, above, rates)
                part = rest if child == 0 else rest * own_values[node, OWN]
                total += part * above
                rest -= part
                if child == 0:
                    break
                node = child + (
                    np.float64(z[row, own_links[node, FEATURE]]) > own_values[node, CUT]
                )
            out[row] += total / len(book)
            _learn(
                own_links, own_values, boxes[tree], merits[tree], book[tree], z, row, y[row],
                weight[row], rates, path, pull,
            )  # fmt: skip
