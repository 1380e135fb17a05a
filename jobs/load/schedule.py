"""When each event is to be sent: a schedule made before the first is."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Arrivals = Literal["steady", "poisson", "burst"]
SECOND_NS = 1_000_000_000
BURST_EVERY_S, BURST_S, CALM = 5.0, 1.0, 0.1
"""The last second of every five is at the full rate, the rest at a tenth of it."""


def schedule(arrivals: Arrivals, rate: float, seconds: float, seed: int = 0) -> Int64s:
    """Nanoseconds since the start at which each event is due, ascending.

    `steady` spaces them evenly, `poisson` draws them independently of one another at the same mean
    rate, `burst` leaps from a tenth of the rate to the rate and back.

    >>> schedule("steady", rate=4, seconds=1).tolist()
    [0, 250000000, 500000000, 750000000]
    """
    if arrivals == "poisson":
        drawn = np.random.default_rng(seed)
        due = np.sort(drawn.uniform(0, seconds, drawn.poisson(rate * seconds)))
    elif arrivals == "burst":
        due = _uneven(rate, seconds)
    else:
        due = np.arange(round(rate * seconds)) / rate
    return (due * SECOND_NS).astype(np.int64)


def _uneven(rate: float, seconds: float) -> npt.NDArray[np.float64]:
    """Times at which the integral of the rate passes each whole number."""
    edges = np.arange(0, seconds + BURST_EVERY_S, BURST_EVERY_S)
    times = np.sort(np.concatenate([edges, edges[1:] - BURST_S]))
    times = np.append(times[times < seconds], seconds)
    rates = np.where(in_burst((times[:-1] * SECOND_NS).astype(np.int64)), rate, CALM * rate)
    sent = np.concatenate([[0.0], np.cumsum(np.diff(times) * rates)])
    return np.interp(np.arange(int(sent[-1])), sent, times)


def in_burst(due: Int64s) -> npt.NDArray[np.bool_]:
    """Which of the times lie in a burst of such a schedule."""
    return due % int(BURST_EVERY_S * SECOND_NS) >= int((BURST_EVERY_S - BURST_S) * SECOND_NS)
