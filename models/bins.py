"""Bin edges: how a numeric input becomes a category that a linear model can weigh.

Edges e1 < e2 < ... make the bins (-inf, e1), [e1, e2), ..., and a missing value has a bin of its
own. Edges fixed on a log scale are the default: they need no look at the stream and stay right when
it changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from streams.errors import ConfigError

_MOST = 255
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Edges:
    """Increasing bin edges for one input.

    With `feature` they bin that input of the pipeline, whatever the name they are given under.
    `crossed_only` inputs have no weight of their own. With `learnt_after` the values are
    placeholders until that many examples have been seen.
    """

    values: tuple[float, ...]
    feature: str = ""
    crossed_only: bool = False
    learnt_after: int = 0

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.values, self.values[1:], strict=False))
        finite = all(math.isfinite(value) for value in self.values)
        if not 1 <= len(self.values) <= _MOST or not (self.learnt_after or (rising and finite)):
            wanted = f"1 to {_MOST} finite edges, each above the one before"
            raise ConfigError(f"wanted {wanted}; got {len(self.values)}: {self.values}")

    def of(self, feature: str) -> Edges:
        """The same edges for a second view of an input, finer or coarser than its own.

        >>> edges_at(100).of("amount").feature
        'amount'
        """
        return replace(self, feature=feature)

    def for_crosses(self) -> Edges:
        """The same edges for a view that serves in crosses only.

        >>> edges_at(100).of("amount").for_crosses().crossed_only
        True
        """
        return replace(self, crossed_only=True)


def edges_at(*values: float) -> Edges:
    """Edges at these values, for counts and codes.

    >>> edges_at(1, 2, 5).values
    (1.0, 2.0, 5.0)
    """
    return Edges(tuple(float(value) for value in values))


def log_edges(lo: float, hi: float, per_decade: float = 10) -> Edges:
    """Edges from lo to at most hi, both above 0, so many to each factor of ten.

    >>> log_edges(1, 100, per_decade=1).values
    (1.0, 10.0, 100.0)
    """
    _check_range(lo, hi, per_decade)
    last = math.floor(math.log10(hi / lo) * per_decade + _ROUNDING)
    return Edges(tuple(lo * 10.0 ** (step / per_decade) for step in range(last + 1)))


def ratio_edges(lo: float, hi: float, per_octave: int = 4) -> Edges:
    """The powers of two, and so many steps to each doubling, between lo and hi, both above 0.

    1 is on the grid, wherever it begins: for ratios, and for risks and times that compare.

    >>> ratio_edges(1 / 3, 5, per_octave=1).values
    (0.5, 1.0, 2.0, 4.0)
    """
    _check_range(lo, hi, per_octave)
    first = math.ceil(math.log2(lo) * per_octave - _ROUNDING)
    last = math.floor(math.log2(hi) * per_octave + _ROUNDING)
    return Edges(tuple(2.0 ** (step / per_octave) for step in range(first, last + 1)))


def symmetric_edges(lo: float, hi: float, per_decade: float = 3) -> Edges:
    """`log_edges` and their mirror image below zero; what is smaller than lo shares a bin with 0.

    >>> symmetric_edges(1, 10, per_decade=1).values
    (-10.0, -1.0, 1.0, 10.0)
    """
    above = log_edges(lo, hi, per_decade).values
    return Edges((*(-value for value in reversed(above)), *above))


def automatic_edges() -> Edges:
    """For an input of which nothing is said: magnitudes from 0.01 to 10 million of either sign."""
    return symmetric_edges(1e-2, 1e7, 3)


def quantile_edges(count: int = 32, after: int = 10_000) -> Edges:
    """Quantiles of the first `after` examples, fixed from then on.

    Until then the input says only whether it is missing. Prefer fixed edges where the scale is
    known: on card fraud, edges from the first week cost .07 of average precision, and edges on a
    log scale .01.
    """
    if after < 1:
        raise ConfigError(f"quantile_edges needs examples to learn from; got after={after}")
    return Edges((math.inf,) * count, learnt_after=after)


def _check_range(lo: float, hi: float, per: float) -> None:
    if not (0 < lo < hi and per > 0):
        raise ConfigError(f"wanted 0 < lo < hi and a positive density; got {lo}, {hi}, {per}")
