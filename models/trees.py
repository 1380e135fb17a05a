"""Binary trees in arrays, made by a library: a kernel that scores, and what raised each score.

All trees have room for as many nodes, so that what holds them has one shape. Children come after
their parents, the right one next to the left.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.base import Floats
from streams.jit import kernel

Links = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]

CHILD, FEATURE, MISSING_LEFT = range(3)
"""Words of a node's links: its left child, 0 for a leaf; what it is cut by, and where a missing
value goes."""
CUT, VALUE = range(2)
"""Numbers of a node: up to where left is, and what a leaf says or the mean of those below."""


def room(trees: int, nodes: int) -> tuple[Links, Floats]:
    """Links (trees, nodes, 3) and numbers (trees, nodes, 2) of trees that all say 0."""
    return np.zeros((trees, nodes, 3), np.int32), np.zeros((trees, nodes, 2))


@kernel(
    "void(int64[::1], int64[::1], int64[::1], boolean[::1], float64[::1], float64[::1],"
    " int32[:, ::1], float64[:, ::1])"
)
def put(
    left: Ints,
    right: Ints,
    feature: Ints,
    missing_left: npt.NDArray[np.bool_],
    cut: Floats,
    value: Floats,
    links: Links,
    numbers: Floats,
) -> None:
    """Put one tree, its root first and -1 for the children of leaves, breadth first into place."""
    order = np.empty(len(left), np.int64)
    order[0] = 0
    used = 1
    for place in range(len(left)):
        node = order[place]
        numbers[place, VALUE] = value[node]
        if left[node] < 0:
            links[place, CHILD] = 0
            continue
        links[place, CHILD] = np.int32(used)
        links[place, FEATURE] = np.int32(feature[node])
        links[place, MISSING_LEFT] = np.int32(missing_left[node])
        numbers[place, CUT] = cut[node]
        order[used], order[used + 1] = left[node], right[node]
        used += 2


@kernel()
def _below(x: Floats, row: int, links: Links, numbers: Floats, node: int) -> int:
    """The child that a row goes to."""
    value = x[row, links[node, FEATURE]]
    left = links[node, MISSING_LEFT] > 0 if np.isnan(value) else value <= numbers[node, CUT]
    return int(links[node, CHILD] + (0 if left else 1))


@kernel("void(float64[:, ::1], int32[:, :, ::1], float64[:, :, ::1], float64[::1])")
def total(x: Floats, links: Links, numbers: Floats, out: Floats) -> None:
    """The sum over the trees, in order, of what the leaf of each row of x says, into out (n,)."""
    for row in range(len(x)):
        out[row] = 0.0
        for tree in range(len(links)):
            own, node = links[tree], 0
            while own[node, CHILD] != 0:
                node = _below(x, row, own, numbers[tree], node)
            out[row] += numbers[tree, node, VALUE]


@kernel("void(float64[:, ::1], int32[:, :, ::1], float64[:, :, ::1], float64[:, ::1])")
def contributions(x: Floats, links: Links, numbers: Floats, out: Floats) -> None:
    """What each input adds to each row's total, and last the base, into out (n, inputs + 1).

    What a step down adds to the value is the share of the input cut by (Saabas, 2014).
    """
    base = out.shape[1] - 1
    for row in range(len(x)):
        out[row, :] = 0.0
        for tree in range(len(links)):
            own, values, node = links[tree], numbers[tree], 0
            out[row, base] += values[0, VALUE]
            while own[node, CHILD] != 0:
                below = _below(x, row, own, values, node)
                out[row, own[node, FEATURE]] += values[below, VALUE] - values[node, VALUE]
                node = below


def sound(links: Links, inputs: int) -> bool:
    """Whether every way down ends in a leaf of its own tree, cut by inputs there are."""
    child, feature = links[:, :, CHILD], links[:, :, FEATURE]
    own = np.arange(links.shape[1])[None, :]
    inner = child != 0
    onwards = (child > own) & (child + 1 < links.shape[1])
    return bool((onwards | ~inner).all() and ((feature >= 0) & (feature < inputs)).all())
