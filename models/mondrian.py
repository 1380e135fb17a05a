"""Mondrian trees that are aggregated over all their prunings, learnt event by event.

Mourtada, Gaïffas and Scornet, *AMF: Aggregated Mondrian Forests for Online Learning*, 2021. A node
has a box round the examples that came through it. One that falls outside the box splits the node at
a random time that is earlier the further outside it is; the split is kept if the node's own is
later. Every node predicts by the share of positives that came through it, and a tree by the mean
over all its prunings, each weighted by how well it has predicted: Willems, Shtarkov and Tjalkens'
context tree weighting (1995), so that depth need not be chosen.

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
STEP, SMOOTHING, PRIOR = range(3)
"""What a forest is grown by."""
_CUT, _OWN, _SHARE = range(3)
"""Words of a node that scores."""
DEEPEST = 256
"""Nothing is split below; splits above may put what is there deeper still."""
_LOG_2 = math.log(2.0)
_ALONE = 40.0
"""A weight that is e to this many times another is not changed by adding it."""


def nodes_of(trees: int, nodes: int, inputs: int, seed: int) -> tuple[Links, Floats, Boxes, Ints]:
    """Links, values, boxes and the trees' own words, of a forest without any node."""
    book = np.zeros((trees, 2), np.int64)
    rng = np.random.default_rng(seed)
    book[:, RANDOM] = rng.integers(1, 2**62, trees)
    return (
        np.zeros((trees, nodes, 2), np.int32),
        np.zeros((trees, nodes, 7)),
        np.zeros((trees, nodes, 2 * inputs), np.float32),
        book,
    )


@kernel()
def _share(values: Floats, node: int, rates: Floats) -> float:
    """The probability that a node predicts."""
    positive = values[node, POSITIVE] + rates[SMOOTHING] * rates[PRIOR]
    negative = values[node, NEGATIVE] + rates[SMOOTHING] * (1 - rates[PRIOR])
    return float(positive / (positive + negative))


@kernel()
def _count(values: Floats, node: int, y: int, weight: float) -> None:
    values[node, POSITIVE if y else NEGATIVE] += weight


@kernel()
def _judge(values: Floats, node: int, y: int, weight: float, rates: Floats) -> None:
    """Weigh a node's prediction by the label that came, and count it."""
    p = _share(values, node, rates)
    values[node, WEIGHT] += rates[STEP] * weight * np.log(p if y else 1.0 - p)
    _count(values, node, y, weight)


@kernel()
def _outside(boxes: Boxes, node: int, z: Boxes, row: int) -> bool:
    """Whether an example is outside a node's box."""
    inputs = z.shape[1]
    outside = 0
    for f in range(inputs):
        outside += (z[row, f] < boxes[node, f]) | (z[row, f] > boxes[node, inputs + f])
    return outside > 0


@kernel()
def _beyond(boxes: Boxes, node: int, z: Boxes, row: int, f: int) -> float:
    """How far outside a node's box an example is by one input."""
    value = z[row, f]
    below = float(boxes[node, f]) - float(value)
    above = float(value) - float(boxes[node, z.shape[1] + f])
    return max(below, above, 0.0)


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
    links[node, CHILD] = 0
    values[node, :] = 0.0
    values[node, TIME] = time
    values[node, OWN] = 1.0
    inputs = z.shape[1]
    for f in range(inputs):
        boxes[node, f] = z[row, f]
        boxes[node, inputs + f] = z[row, f]


@kernel()
def _split_time(
    links: Links, values: Floats, boxes: Boxes, book: Ints, tree: int, node: int, z: Boxes, row: int
) -> float:
    """When a node is split by an example outside its box; infinite if its own split is earlier."""
    extent = 0.0
    for f in range(z.shape[1]):
        extent += _beyond(boxes, node, z, row, f)
    time = values[node, TIME] - np.log(uniform(book[tree], RANDOM)) / extent
    child = links[node, CHILD]
    return time if child == 0 or time < values[child, TIME] else np.inf


@kernel()
def _split(
    links: Links,
    values: Floats,
    boxes: Boxes,
    book: Ints,
    tree: int,
    node: int,
    time: float,
    z: Boxes,
    row: int,
) -> int:
    """Put a node's own content below it, with the example in a new leaf beside; that leaf."""
    inputs = z.shape[1]
    extent = 0.0
    for f in range(inputs):
        extent += _beyond(boxes, node, z, row, f)
    left = extent * uniform(book[tree], RANDOM)
    chosen = inputs - 1
    for f in range(inputs):
        left -= _beyond(boxes, node, z, row, f)
        if left < 0:
            chosen = f
            break
    while _beyond(boxes, node, z, row, chosen) <= 0:
        chosen -= 1
    value = np.float64(z[row, chosen])
    right = value > np.float64(boxes[node, inputs + chosen])
    edge = np.float64(boxes[node, inputs + chosen] if right else boxes[node, chosen])
    cut = edge + (value - edge) * uniform(book[tree], RANDOM)
    # A cut between neighbouring numbers must still part them: x <= cut goes left.
    cut = min(max(cut, min(edge, value)), max(edge, value))
    if cut >= max(edge, value):
        cut = min(edge, value)
    child = book[tree, USED]
    book[tree, USED] += 2
    moved = child + (0 if right else 1)
    new = child + (1 if right else 0)
    links[moved, :] = links[node, :]
    values[moved, :] = values[node, :]
    values[moved, TIME] = time
    boxes[moved, :] = boxes[node, :]
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
    book: Ints,
    tree: int,
    z: Boxes,
    row: int,
    y: int,
    weight: float,
    rates: Floats,
    path: Ints,
) -> None:
    """Carry an example down a tree, and the weights of what it passed up again."""
    if book[tree, USED] == 0:
        book[tree, USED] = 1
        _begin(links, values, boxes, 0, 0.0, z, row)
    node = depth = 0
    while True:
        path[depth] = node
        depth += 1
        child = links[node, CHILD]
        if _outside(boxes, node, z, row):
            other = values[node, NEGATIVE if y else POSITIVE]
            room = book[tree, USED] + 2 <= len(links) and depth < DEEPEST - 1
            if other > 0 and room:
                time = _split_time(links, values, boxes, book, tree, node, z, row)
                if time < np.inf:
                    new = _split(links, values, boxes, book, tree, node, time, z, row)
                    _stretch(boxes, node, z, row)
                    _judge(values, node, y, weight, rates)
                    _count(values, new, y, weight)
                    path[depth] = new
                    depth += 1
                    break
            _stretch(boxes, node, z, row)
        _judge(values, node, y, weight, rates)
        if child == 0:
            break
        node = child + (np.float64(z[row, links[node, FEATURE]]) > values[node, CUT])
    for place in range(depth - 1, -1, -1):
        node = path[place]
        own = values[node, WEIGHT]
        child = links[node, CHILD]
        if child == 0:
            values[node, TREE] = own
            continue
        below = values[child, TREE] + values[child + 1, TREE]
        apart = own - below
        if apart > _ALONE:
            values[node, TREE], values[node, OWN] = own - _LOG_2, 1.0
        elif apart < -_ALONE:
            values[node, TREE], values[node, OWN] = below - _LOG_2, 0.0
        else:
            ratio = np.exp(-abs(apart))
            values[node, TREE] = max(own, below) + np.log1p(ratio) - _LOG_2
            values[node, OWN] = (1.0 if apart > 0 else ratio) / (1.0 + ratio)


@kernel(
    "void(float32[:, ::1], int8[::1], float64[::1], float64[::1], int32[:, :, ::1],"
    " float64[:, :, ::1], float32[:, :, ::1], int64[:, ::1], int64[::1], float64[::1])"
)
def learn(
    z: Boxes,
    y: Labels,
    weight: Floats,
    rates: Floats,
    links: Links,
    values: Floats,
    boxes: Boxes,
    book: Ints,
    path: Ints,
    out: Floats,
) -> None:
    """Score each row of z (n, F) by the mean of the trees into out (n,), then learn it, in order.

    Trees know nothing of each other, so one after the other goes through all rows.
    """
    out[:] = 0.0
    for tree in range(len(book)):
        own_links, own_values, own_boxes = links[tree], values[tree], boxes[tree]
        for row in range(len(z)):
            rest, total, node = 1.0, 0.0, 0
            if book[tree, USED] == 0:
                total = rates[PRIOR]
                rest = 0.0
            while rest > 0:
                child = own_links[node, CHILD]
                part = rest if child == 0 else rest * own_values[node, OWN]
                total += part * _share(own_values, node, rates)
                rest -= part
                if child == 0:
                    break
                node = child + (
                    np.float64(z[row, own_links[node, FEATURE]]) > own_values[node, CUT]
                )
            out[row] += total / len(book)
            _learn(
                own_links,
                own_values,
                own_boxes,
                book,
                tree,
                z,
                row,
                y[row],
                weight[row],
                rates,
                path,
            )


def scoring(values: Floats, rates: Floats) -> Floats:
    """What scoring needs of nodes (n, 7): (n, 3), where cut, part in the mixture, prediction."""
    positive = values[:, POSITIVE] + rates[SMOOTHING] * rates[PRIOR]
    share = positive / (positive + values[:, NEGATIVE] + rates[SMOOTHING] * (1 - rates[PRIOR]))
    return np.column_stack([values[:, CUT], values[:, OWN], share])


def sound(links: Links, roots: Ints, inputs: int) -> bool:
    """Whether each tree is one: a node has one parent at most, in its own tree, and a root none."""
    sizes = np.diff(roots)
    child, feature = links[:, CHILD].astype(np.int64), links[:, FEATURE]
    inner = child != 0
    if roots[0] != 0 or (sizes < 0).any() or not ((feature >= 0) & (feature < inputs)).all():
        return False
    if not ((child[inner] > 0) & (child[inner] + 1 < np.repeat(sizes, sizes)[inner])).all():
        return False
    first = child[inner] + np.repeat(roots[:-1], sizes)[inner]
    return bool(np.bincount(np.append(first, first + 1), minlength=1).max() <= 1)


@kernel("void(float64[::1])")
def to_log_odds(shares: Floats) -> None:
    """Probabilities (n,) to their log-odds, in place."""
    for i in range(len(shares)):
        shares[i] = np.log(shares[i] / (1.0 - shares[i]))


@kernel("void(float32[:, ::1], int32[:, ::1], float64[:, ::1], int64[::1], float64[::1])")
def predict(z: Boxes, links: Links, nodes: Floats, roots: Ints, out: Floats) -> None:
    """The mean of the trees for each row of z (n, F) into out (n,), 1/2 of trees without nodes.

    `links` and `nodes` (as of `scoring`) are those of all trees, one tree after the other; a tree's
    are from one of `roots` (trees + 1,) to the next, and children are counted from there.
    """
    trees = len(roots) - 1
    for row in range(len(z)):
        total = 0.0
        for tree in range(trees):
            node, rest = roots[tree], 1.0
            if node == roots[tree + 1]:
                total += 0.5
                continue
            while True:
                child = links[node, CHILD]
                part = rest if child == 0 else rest * nodes[node, _OWN]
                total += part * nodes[node, _SHARE]
                rest -= part
                if child == 0:
                    break
                right = np.float64(z[row, links[node, FEATURE]]) > nodes[node, _CUT]
                node = roots[tree] + child + right
        out[row] = total / trees


@kernel("void(float32[:, ::1], int32[:, ::1], float64[:, ::1], int64[::1], float64[:, ::1])")
def contributions(z: Boxes, links: Links, nodes: Floats, roots: Ints, out: Floats) -> None:
    """What each input adds to the mean of the trees, and last the base, into out (n, F + 1).

    The base is what the roots predict. A tree's prediction is that and, for each step down, what
    the child predicts more, times the part that the mixture gives to what lies below: the path
    attribution to the input cut by (Saabas, 2014), here of every pruning at once. The rest is as of
    `predict`.
    """
    trees, base = len(roots) - 1, out.shape[1] - 1
    for row in range(len(z)):
        out[row, :] = 0.0
        for tree in range(trees):
            node, rest = roots[tree], 1.0
            if node == roots[tree + 1]:
                out[row, base] += 0.5
                continue
            out[row, base] += nodes[node, _SHARE]
            while links[node, CHILD] != 0:
                feature = links[node, FEATURE]
                right = np.float64(z[row, feature]) > nodes[node, _CUT]
                below = roots[tree] + links[node, CHILD] + right
                rest -= rest * nodes[node, _OWN]
                out[row, feature] += rest * (nodes[below, _SHARE] - nodes[node, _SHARE])
                node = below
        for i in range(base + 1):
            out[row, i] /= trees
