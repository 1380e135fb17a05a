"""Trees that are cut where it has paid, aggregated over all their prunings, learnt event by event.

A leaf tries a few cuts of each input at once: what each side of one would have predicted is judged
on every example before it is learnt, beside what the leaf predicts (Dawid's prequential evidence,
1984). A cut that has saved more loss than the logarithm of how many were tried is made; the sides
go on from what they have seen. Cuts are tried where they may serve: at random between an example
and the last one of the other label. Those that have saved nothing make room for others each time
that twice as many examples have come to the leaf.

Every node predicts by the share of positives that came through it, and a tree by the mean over all
its prunings, each weighted by how well it has predicted: Willems, Shtarkov and Tjalkens' context
tree weighting (1995), as in Mourtada, Gaïffas and Scornet's *AMF: Aggregated Mondrian Forests for
Online Learning*, 2021; so that depth need not be chosen. Trees differ by what each example weighs
for them: Poisson's 6 sixths, after leveraging bagging (Bifet, Holmes and Pfahringer, 2010).

A tree has a place for so many nodes; once they are used up it cuts no more and goes on learning in
the nodes it has.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from models.base import Floats, Labels
from streams.draw import uniform
from streams.jit import kernel

Links = npt.NDArray[np.int32]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CHILD, FEATURE, TRIED = range(3)
"""Words of a node's links: its left child, the right one being the next, 0 for a leaf; the input it
is cut by; of a leaf, the place of the cuts it tries."""
CUT, WEIGHT, TREE, OWN, NEGATIVE, POSITIVE, ANEW = range(7)
"""Words of a node: where it is cut, the log weight of its own prediction and of the best mixture
below it, the share of the former in the latter, the examples it has seen, and at how many of them
a leaf next tries other cuts."""
USED, RANDOM = range(2)
"""Words of a tree."""
STEP, SMOOTHING, PRIOR = range(3)
"""What a forest is grown by."""
DEEPEST = 256
"""An example is learnt by so many nodes on its way down at most."""
_PLACE, _LEFT, _RIGHT, _SAVED, _WORDS = 0, 1, 3, 5, 6
"""Words of a cut that is tried: where, negatives and positives on either side, what it has saved.
Before an input's cuts stand the last negative and the last positive number."""
_NONE = np.float32(np.inf)
"""Where there is no number."""
_LOG_2 = math.log(2.0)
_ALONE = 40.0
"""A weight that is e to this many times another is not changed by adding it."""
_SURE = 1e-12
"""What is left of certainty."""
_BAGS = 6.0
"""How many bags a tree has of an example on average, each a part of it."""
_NO_BAG = math.exp(-_BAGS)
_AT_FIRST = 32.0
"""After so many examples a leaf first tries other cuts."""
_ENOUGH = 32.0
"""With so many of the rarer label a leaf is cut even where nothing was saved: two inputs may say
only together what neither says alone."""


def nodes_of(trees: int, nodes: int, inputs: int, cuts: int) -> tuple[Links, Floats, Singles]:
    """Room for links and values of a forest, and for the cuts its leaves try."""
    return (
        np.zeros((trees, nodes, 3), np.int32),
        np.zeros((trees, nodes, 7)),
        np.zeros((trees, (nodes + 1) // 2, inputs, 2 + _WORDS * cuts), np.float32),
    )


def book_of(trees: int, seed: int) -> Ints:
    """The trees' own words, of trees without any node."""
    book = np.zeros((trees, 2), np.int64)
    rng = np.random.default_rng(seed)
    book[:, RANDOM] = rng.integers(1, 2**62, trees)
    return book


@kernel()
def share(negative: float, positive: float, above: float, smoothing: float) -> float:
    """The probability that a node predicts, given the one that the node above it does.

    A node begins with examples of both labels that have the odds of the node above, and `smoothing`
    as their geometric mean: of one half, and odds of one, they are Jeffreys'.
    """
    tilt = np.sqrt(above / (1.0 - above))
    positive += smoothing * tilt
    negative += smoothing / tilt
    return float(min(max(positive / (positive + negative), _SURE), 1.0 - _SURE))


@kernel()
def _begin(links: Links, values: Floats, tried: Singles, node: int, place: int) -> None:
    """Make a leaf that has seen nothing and tries no cut yet."""
    links[node, CHILD] = 0
    links[node, TRIED] = place
    values[node, :] = 0.0
    values[node, OWN] = 1.0
    values[node, ANEW] = _AT_FIRST
    for f in range(tried.shape[1]):
        tried[place, f, 0] = tried[place, f, 1] = _NONE
        for at in range(2, tried.shape[2], _WORDS):
            _clear(tried[place, f], at)


@kernel()
def _clear(of: Singles, at: int) -> None:
    """Make room for another cut."""
    of[at] = _NONE
    of[at + 1 : at + _WORDS] = 0.0


@kernel()
def _descend(
    links: Links, values: Floats, z: Singles, row: int, rates: Floats, path: Ints, shares: Floats
) -> int:
    """The nodes an example passes into `path`, what they predict into `shares`; how many."""
    node, depth, above = 0, 0, rates[PRIOR]
    while True:
        above = share(values[node, NEGATIVE], values[node, POSITIVE], above, rates[SMOOTHING])
        path[depth], shares[depth] = node, above
        depth += 1
        child = links[node, CHILD]
        if child == 0:
            return depth
        node = child + (np.float64(z[row, links[node, FEATURE]]) > values[node, CUT])


@kernel()
def _mixture(values: Floats, path: Ints, shares: Floats, depth: int) -> float:
    """What a tree predicts: the mean over the prunings of what was passed."""
    total, rest = 0.0, 1.0
    for place in range(depth - 1):
        part = rest * values[path[place], OWN]
        total += part * shares[place]
        rest -= part
    return float(total + rest * shares[depth - 1])


@kernel()
def _bags(own: Ints) -> float:
    """How many times an example counts for a tree: a sixth of what is drawn from Poisson's 6."""
    drawn, left = -1.0, 1.0
    while left > _NO_BAG:
        left *= uniform(own, RANDOM)
        drawn += 1.0
    return drawn / _BAGS


@kernel()
def _place_one(of: Singles, at: int, value: float, y: int, weight: float, own: Ints) -> None:
    """Try a cut between an example and the last one of the other label, if these differ."""
    other = float(of[1 - y])
    if other in (_NONE, value):
        return
    low, high = (value, other) if value < other else (other, value)
    cut = np.float32(low + (high - low) * uniform(own, RANDOM))
    # A cut between neighbouring numbers must still part them: x <= cut goes left.
    cut = np.float32(low) if cut >= high else cut
    of[at] = cut
    left, right = at + _LEFT, at + _RIGHT
    of[(left if value <= cut else right) + y] = weight
    of[(right if value <= cut else left) + 1 - y] = 1.0


@kernel()
def _try_cuts(
    tried: Singles,
    z: Singles,
    row: int,
    y: int,
    weight: float,
    above: float,
    smoothing: float,
    own: Ints,
) -> tuple[int, int, float]:
    """Judge a leaf's cuts (inputs, words) by an example, then have them learn it.

    The input and place of the one that has saved most, and how much; an input of -1 for none.
    """
    before = np.log(above if y else 1.0 - above)
    chosen, place, most = -1, 0, -np.inf
    for f in range(len(tried)):
        of, value, waits = tried[f], float(z[row, f]), True
        for at in range(2, len(of), _WORDS):
            if of[at] == _NONE:
                if waits:
                    _place_one(of, at, value, y, weight, own)
                waits = False
                continue
            side = at + (_LEFT if value <= of[at] else _RIGHT)
            p = share(np.float64(of[side]), np.float64(of[side + 1]), above, smoothing)
            of[at + _SAVED] += weight * (np.log(p if y else 1.0 - p) - before)
            of[side + y] += weight
            if of[at + _SAVED] > most:
                chosen, place, most = f, at, float(of[at + _SAVED])
        of[y] = z[row, f]
    return chosen, place, most


@kernel()
def _cut(
    links: Links,
    values: Floats,
    tried: Singles,
    own: Ints,
    leaf: int,
    feature: int,
    at: int,
    step: float,
) -> None:
    """Make a cut that was tried: two leaves below, which have seen what its sides have."""
    place, child = links[leaf, TRIED], own[USED]
    cut = tried[place, feature, at : at + _WORDS].astype(np.float64)
    links[leaf, CHILD] = child
    links[leaf, FEATURE] = feature
    values[leaf, CUT] = cut[_PLACE]
    half = (values[leaf, WEIGHT] + step * cut[_SAVED]) / 2.0
    for side in range(2):
        node = child + side
        _begin(links, values, tried, node, place if side == 0 else (own[USED] + 1) // 2)
        seen = cut[1 + 2 * side : 3 + 2 * side]
        values[node, NEGATIVE], values[node, POSITIVE] = seen[0], seen[1]
        values[node, WEIGHT] = values[node, TREE] = half
        values[node, ANEW] = max(_AT_FIRST, 2.0 * (seen[0] + seen[1]))
    own[USED] += 2


@kernel()
def _weigh(links: Links, values: Floats, path: Ints, depth: int) -> None:
    """Carry the weights of what was passed up again."""
    for place in range(depth - 1, -1, -1):
        node = path[place]
        alone, child = values[node, WEIGHT], links[node, CHILD]
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


@kernel()
def _learn(
    links: Links,
    values: Floats,
    tried: Singles,
    own: Ints,
    z: Singles,
    row: int,
    y: int,
    weight: float,
    rates: Floats,
    path: Ints,
    shares: Floats,
    depth: int,
) -> None:
    """Have the nodes that an example passed learn it, and its leaf the cuts it tries."""
    for place in range(depth):
        node, p = path[place], shares[place]
        values[node, WEIGHT] += rates[STEP] * weight * np.log(p if y else 1.0 - p)
        values[node, POSITIVE if y else NEGATIVE] += weight
    leaf = path[depth - 1]
    if own[USED] + 2 <= len(links) and depth < DEEPEST:
        of = tried[links[leaf, TRIED]]
        feature, at, saved = _try_cuts(
            of, z, row, y, weight, shares[depth - 1], rates[SMOOTHING], own
        )
        negative, positive = values[leaf, NEGATIVE], values[leaf, POSITIVE]
        count = len(of) * ((of.shape[1] - 2) // _WORDS)
        pays = saved > np.log(count) or min(negative, positive) >= _ENOUGH
        if feature >= 0 and pays:
            _cut(links, values, tried, own, leaf, feature, at, rates[STEP])
        elif negative + positive >= values[leaf, ANEW]:
            values[leaf, ANEW] *= 2.0
            for f in range(len(of)):
                for at in range(2, of.shape[1], _WORDS):
                    if of[f, at + _SAVED] <= 0:
                        _clear(of[f], at)
    _weigh(links, values, path, depth)


@kernel(
    "void(float32[:, ::1], int8[::1], float64[::1], float64[::1], int32[:, :, ::1],"
    " float64[:, :, ::1], float32[:, :, :, ::1], int64[:, ::1], float64[::1])"
)
def learn(
    z: Singles,
    y: Labels,
    weight: Floats,
    rates: Floats,
    links: Links,
    values: Floats,
    tried: Singles,
    book: Ints,
    out: Floats,
) -> None:
    """Score each row of z (n, F) by the mean of the trees into out (n,), then learn it, in order.

    Trees know nothing of each other, so one after the other goes through all rows.
    """
    out[:] = 0.0
    path, shares = np.empty(DEEPEST, np.int64), np.empty(DEEPEST)
    for tree in range(len(book)):
        own_links, own_values, own_tried, own = links[tree], values[tree], tried[tree], book[tree]
        if own[USED] == 0 and len(z):
            own[USED] = 1
            _begin(own_links, own_values, own_tried, 0, 0)
        for row in range(len(z)):
            depth = _descend(own_links, own_values, z, row, rates, path, shares)
            out[row] += _mixture(own_values, path, shares, depth) / len(book)
            bags = _bags(own)
            if bags > 0:
                _learn(
                    own_links, own_values, own_tried, own, z, row, int(y[row]), bags * weight[row],
                    rates, path, shares, depth,
                )  # fmt: skip
