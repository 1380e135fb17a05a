"""The trees of a `Forest` as they score: what each node adds, and which input speaks for it."""

from __future__ import annotations

import numpy as np

from models.base import Floats
from models.cuts import (
    CHILD,
    CUT,
    FEATURE,
    NEGATIVE,
    OWN,
    POSITIVE,
    PRIOR,
    SMOOTHING,
    TRIED,
    USED,
    Ints,
    Links,
    Singles,
    share,
)
from streams.jit import kernel

_CUT, _OWN, _SHARE = range(3)
"""Words of a node that scores."""


def scoring(links: Links, values: Floats, book: Ints, rates: Floats) -> tuple[Links, Floats, Ints]:
    """What scoring needs of a forest's nodes, one tree after the other, and where each begins.

    Links (n, 2); cut, part in the mixture and prediction (n, 3); the places of the roots, and n.
    """
    used = book[:, USED]
    roots = np.concatenate([[0], np.cumsum(used)])
    nodes = np.empty((int(roots[-1]), 3))
    _write(links, values, roots, rates, nodes)
    own_links = [own[:n, :TRIED] for own, n in zip(links, used, strict=True)]
    return np.concatenate(own_links), nodes, roots


@kernel()
def _share(values: Floats, node: int, above: float, rates: Floats) -> float:
    return float(share(values[node, NEGATIVE], values[node, POSITIVE], above, rates[SMOOTHING]))


@kernel("void(int32[:, :, ::1], float64[:, :, ::1], int64[::1], float64[::1], float64[:, ::1])")
def _write(links: Links, values: Floats, roots: Ints, rates: Floats, nodes: Floats) -> None:
    """Cut, part and prediction of every node; from the root down, since each rests on the last."""
    waiting = np.empty(1 + links.shape[1], np.int64)
    for tree in range(len(links)):
        own, first = nodes[roots[tree] : roots[tree + 1]], 0
        last = min(len(own), 1)
        waiting[0] = 0
        if last:
            own[0, _SHARE] = _share(values[tree], 0, rates[PRIOR], rates)
        while first < last:
            node = waiting[first]
            first += 1
            own[node, _CUT], own[node, _OWN] = values[tree, node, CUT], values[tree, node, OWN]
            child = np.int64(links[tree, node, CHILD])
            if child > 0:
                for below in (child, child + 1):
                    own[below, _SHARE] = _share(values[tree], below, own[node, _SHARE], rates)
                    waiting[last] = below
                    last += 1


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
def predict(z: Singles, links: Links, nodes: Floats, roots: Ints, out: Floats) -> None:
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
def contributions(z: Singles, links: Links, nodes: Floats, roots: Ints, out: Floats) -> None:
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
