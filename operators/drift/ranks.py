"""Sequential ranks: values of any distribution made even numbers, as long as nothing changes.

Where the n-th value stands among the first n, ties broken at random, is uniform and independent of
where those before it stood, if every order of the n is equally likely (McDonald, *A cusum procedure
based on sequential ranks*, 1990). A detector that is told these places instead of the values raises
false alarms equally often on Gaussian noise and on the loss of a model with few positives.

Values are counted in bins, 32 an octave from 2**-16 to 2**16 of either sign, smaller and larger
ones in the first and last: the bins of values that do not change do not change, so the same holds.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streams.draw import uniform
from streams.jit import kernel

Int64s = npt.NDArray[np.int64]
PER_OCTAVE = 32
REACH = 16
HALF = 2 * REACH * PER_OCTAVE
BINS = 2 * HALF
WORDS = BINS + 1
"""Of a tree: how many values there were, then sums over bins (Fenwick, 1994)."""


@kernel()
def place(value: float) -> int:
    """The bin of a finite value; bins rise with values.

    >>> place(-1.0) < place(0.0) < place(1.0) < place(1.04)
    True
    """
    size = abs(value)
    if size < 2.0**-REACH:
        at = 0
    elif size >= 2.0**REACH:
        at = HALF - 1
    else:
        part, octave = math.frexp(size)
        at = (octave - 1 + REACH) * PER_OCTAVE + int((2.0 * part - 1.0) * PER_OCTAVE)
    return HALF + at if value >= 0 else HALF - 1 - at


@kernel()
def _below(tree: Int64s, bin_: int) -> int:
    """How many values were in bins below this one."""
    total = np.int64(0)
    while bin_ > 0:
        total += tree[bin_]
        bin_ &= bin_ - 1
    return int(total)


@kernel()
def rank(tree: Int64s, words: Int64s, random: int, value: float) -> float:
    """Count a value; its place among all so far in (0, 1), by the random word at `words[random]`.

    >>> tree, words = np.zeros(WORDS, np.int64), np.ones(1, np.int64)
    >>> ranks = [rank(tree, words, 0, value) for value in (5.0, 7.0, 2.0, 6.0)]
    >>> [int(each * n) for n, each in enumerate(ranks, 1)]
    [0, 1, 0, 2]
    """
    own = place(value)
    less = _below(tree, own)
    ties = _below(tree, own + 1) - less
    tree[0] += 1
    at = own + 1
    while at <= BINS:
        tree[at] += 1
        at += at & -at
    return float((less + uniform(words, random) * (ties + 1)) / tree[0])


@kernel()
def surprise(rank: float) -> float:
    """Minus the logarithm of the share above, less 1: mean 0 and variance 1 of even numbers.

    These are Savage's scores (1956): most of their weight is on the largest values, where the few
    that a model of rare events gets wrong are.
    """
    return float(-np.log(max(1.0 - rank, 2.0**-53)) - 1.0)
