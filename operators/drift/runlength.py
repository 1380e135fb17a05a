"""The setting of a detector that makes its mean run length what was asked for.

All are of values that are even and independent, as sequential ranks are while nothing changes:
one setting holds for every stream. Page-Hinkley's comes from theory, the others from simulation:
`python -m benchmarks.run_lengths` made the tables.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

from streams.errors import ConfigError

Floats = npt.NDArray[np.float64]
LENGTHS = (1e3, 1e4, 1e5, 1e6)
TABLES = {
    "Adwin": (-0.0388, -1.9615, -4.0088, -6.1),
    "Ddm": (2.145, 2.975, 3.98),
    "Kswin": (14.3337, 16.8077, 18.69, 20.17),
}
"""By the last of LENGTHS: the logarithm of ADWIN's delta, DDM's threshold, and the distance of two
samples of 30, times 30, beyond which KSWIN tells. DDM begins at 10,000: it waits for 600 values."""
SHORTEST, LONGEST = 1e2, 1e9
"""Run lengths for which Page-Hinkley's threshold is solved."""
_CELLS = 400


def setting(detector: str, run_length: float) -> float:
    """What a table says, linear in the logarithm of the run length.

    Raises ConfigError where the table does not reach.
    """
    table = TABLES[detector]
    lengths = LENGTHS[-len(table) :]
    _check(detector, run_length, lengths[0], lengths[-1])
    return float(np.interp(math.log(run_length), np.log(lengths), table))


def _check(detector: str, run_length: float, shortest: float, longest: float) -> None:
    if not shortest <= run_length <= longest:
        raise ConfigError(
            f"{detector}: run_length is {shortest:,.0f} to {longest:,.0f}, got {run_length:,.0f}"
        )


@functools.cache
def cusum_threshold(run_length: float, allowance: float, up: bool, down: bool) -> float:
    """From where on sums of `ranks.surprise` less an allowance tell, upwards, downwards or either.

    Brook and Evans, *An approach to the probability distribution of cusum run length* (1972): the
    sum is a Markov chain over cells of equal width. Of two sides the rates of alarms add up.
    Raises ConfigError where the run length is too short or too long to be solved for.
    """
    _check("PageHinkley", run_length, SHORTEST, LONGEST)
    sides = [side for side, watched in ((True, up), (False, down)) if watched]

    def too_often(threshold: float) -> bool:
        return sum(1.0 / cusum_run_length(threshold, allowance, side) for side in sides) > rate

    rate = 1.0 / run_length
    low, high = 0.0, 1.0
    while too_often(high):
        low, high = high, high * 1.25
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if too_often(middle) else (low, middle)
    return float(f"{high:.4g}")


def cusum_run_length(threshold: float, allowance: float, upwards: bool) -> float:
    """Values until a sum of `ranks.surprise` less an allowance, begun at 0, is past the threshold.

    >>> round(cusum_run_length(1e-9, 0.5, upwards=True), 3) == round(math.exp(1.5), 3)
    True
    """
    edges = np.linspace(0.0, threshold, _CELLS + 1)
    start = np.concatenate([[0.0], (edges[1:] + edges[:-1]) / 2])
    # What has to be added to come from each start to each edge; at or below 0 is at 0.
    added = edges[None, :] - start[:, None] + allowance
    cells = _at_most(added, upwards)
    moves = np.concatenate([cells[:, :1], np.diff(cells, axis=1)], axis=1)
    return float(np.linalg.solve(np.eye(len(start)) - moves, np.ones(len(start)))[0])


def _at_most(added: Floats, upwards: bool) -> Floats:
    """How likely a step is no larger: one of an exponential number less 1, or of 1 less that."""
    if upwards:
        return np.asarray(-np.expm1(-np.maximum(added + 1.0, 0.0)))
    return np.asarray(np.exp(np.minimum(added - 1.0, 0.0)))
