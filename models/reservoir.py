"""Reservoirs: a sample of fixed size of all that came, with the probability of being in it known.

Each row draws a key, exponentially distributed with its weight as the rate, and the rows with the
smallest keys stay. With one weight for all that is a uniform sample, with others the one of
Efraimidis and Spirakis (A-Res, 2006), and with weights that double every half-life it forgets
(Cormode, Shkapenyuk, Srivastava and Xu, *Forward Decay*, 2009). How much weight goes by until a row
comes in is drawn at once, as in their A-ExpJ and in Li's Algorithm L (1994), so that a row that
does not come in costs a subtraction.

Keys are kept, so samples of parts of a stream are merged to one of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from streams.draw import uniform
from streams.errors import StateError
from streams.jit import kernel

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
COUNT, SEEN, RANDOM = range(3)
"""Words of a stratum: rows held, rows that came, and where its random numbers are."""
_LEFT = 0
"""Of a stratum: how much weight, times the threshold, has to go by until a row comes in."""


@kernel()
def _sink(keys: Floats, rows: Floats, weights: Floats, at: int, count: int) -> None:
    """Let the entry at a place of the heap go down until none below it has a greater key."""
    while True:
        child = 2 * at + 1
        if child >= count:
            return
        if child + 1 < count and keys[child + 1] > keys[child]:
            child += 1
        if keys[child] <= keys[at]:
            return
        _swap(keys, rows, weights, at, child)
        at = child


@kernel()
def _rise(keys: Floats, rows: Floats, weights: Floats, at: int) -> None:
    """Let the entry at a place of the heap go up until none above it has a lesser key."""
    while at > 0 and keys[(at - 1) // 2] < keys[at]:
        _swap(keys, rows, weights, at, (at - 1) // 2)
        at = (at - 1) // 2


@kernel()
def _swap(keys: Floats, rows: Floats, weights: Floats, one: int, other: int) -> None:
    keys[one], keys[other] = keys[other], keys[one]
    weights[one], weights[other] = weights[other], weights[one]
    for column in range(rows.shape[1]):
        rows[one, column], rows[other, column] = rows[other, column], rows[one, column]


@kernel(
    "void(float64[:, ::1], float64[::1], int64[::1], float64[:, :, ::1], float64[:, ::1],"
    " float64[:, ::1], int64[:, ::1], float64[:, ::1])"
)
def _add(
    x: Floats,
    log_weight: Floats,
    stratum: Int64s,
    rows: Floats,
    keys: Floats,
    weights: Floats,
    words: Int64s,
    reals: Floats,
) -> None:
    """Offer rows in order. Keys are logarithms, the heap's first the greatest: the threshold."""
    size = keys.shape[1]
    for i in range(len(x)):
        s = stratum[i]
        own, held, kept = keys[s], rows[s], weights[s]
        words[s, SEEN] += 1
        count = words[s, COUNT]
        if count < size:
            own[count] = np.log(-np.log(uniform(words[s], RANDOM))) - log_weight[i]
            held[count, :], kept[count] = x[i], log_weight[i]
            words[s, COUNT] += 1
            _rise(own, held, kept, count)
            if count + 1 == size:
                reals[s, _LEFT] = -np.log(uniform(words[s], RANDOM))
            continue
        part = np.exp(own[0] + log_weight[i])
        reals[s, _LEFT] -= part
        if reals[s, _LEFT] > 0:
            continue
        # A key below the threshold, from what the exponential has there.
        below = -np.expm1(-part)
        own[0] = np.log(-np.log1p(-uniform(words[s], RANDOM) * below)) - log_weight[i]
        held[0, :], kept[0] = x[i], log_weight[i]
        _sink(own, held, kept, 0, size)
        reals[s, _LEFT] = -np.log(uniform(words[s], RANDOM))


class Reservoir:
    """A sample of `size` rows of `width` numbers from each of `strata` strata.

    With a `half_life_us` a row that is so much older than another weighs half as much. Memory: 8
    bytes a number and 16 a row; one row more than `size` is held, whose key is the threshold.

    >>> reservoir = Reservoir(2, 1)
    >>> reservoir.add(np.array([[1.0], [2.0]]))
    >>> rows, share = reservoir.sample()
    >>> sorted(rows.ravel().tolist()), share.tolist()
    ([1.0, 2.0], [1.0, 1.0])
    """

    def __init__(
        self, size: int, width: int, *, strata: int = 1, half_life_us: int = 0, seed: int = 0
    ) -> None:
        if min(size, width, strata) < 1 or half_life_us < 0:
            raise ValueError(f"wanted sizes of at least 1, got {size}, {width} and {strata}")
        self._half_life_us = half_life_us
        self._rows = np.zeros((strata, size + 1, width))
        self._keys = np.zeros((strata, size + 1))
        self._weights = np.zeros((strata, size + 1))
        self._words = np.zeros((strata, 3), np.int64)
        rng = np.random.default_rng(seed)
        self._words[:, RANDOM] = rng.integers(1, 2**62, strata)
        self._reals = np.zeros((strata, 1))

    def add(
        self,
        x: Floats,
        *,
        weight: Floats | None = None,
        time_us: Int64s | None = None,
        stratum: Int64s | None = None,
    ) -> None:
        """Offer rows x (n, width) in order: of a weight above 0, a time, a stratum each (n,).

        Times are wanted where there is a half-life. Any cut into calls leaves the same sample.
        """
        n = len(x)
        log_weight = np.zeros(n) if weight is None else np.log(weight)
        if self._half_life_us:
            if time_us is None:
                raise ValueError("wanted the times of rows that are to be forgotten, got none")
            log_weight = log_weight + time_us * (math.log(2) / self._half_life_us)
        strata = np.zeros(n, np.int64) if stratum is None else stratum
        _add(
            np.ascontiguousarray(x), log_weight, strata,
            self._rows, self._keys, self._weights, self._words, self._reals,
        )  # fmt: skip

    def sample(self, stratum: int = 0) -> tuple[Floats, Floats]:
        """The rows of a stratum (k, width), and each one's probability of being among them (k,).

        It is that given the threshold: the mean of 1 / probability over samples is the number of
        rows, as with the whole. With weights that are all alike it is k of the rows that came.
        """
        count, size = int(self._words[stratum, COUNT]), self._keys.shape[1] - 1
        if count <= size:
            return self._rows[stratum, :count].copy(), np.ones(count)
        keys = self._keys[stratum]
        share = -np.expm1(-np.exp(keys[0] + self._weights[stratum, 1:]))
        return self._rows[stratum, 1:].copy(), share

    def seen(self, stratum: int = 0) -> int:
        """How many rows of a stratum came."""
        return int(self._words[stratum, SEEN])

    def merge(self, other: Self) -> None:
        """Take in the sample of another part of the stream, as if this one had seen both.

        Raises ValueError where size, width, strata or half-life differ.
        """
        if self._rows.shape != other._rows.shape or self._half_life_us != other._half_life_us:
            raise ValueError(
                f"wanted a reservoir of shape {self._rows.shape} and half-life "
                f"{self._half_life_us} us, got {other._rows.shape} and {other._half_life_us} us"
            )
        size = self._keys.shape[1]
        for s in range(len(self._keys)):
            counts = int(self._words[s, COUNT]), int(other._words[s, COUNT])
            keys, weights, rows = (
                np.concatenate([mine[s, : counts[0]], theirs[s, : counts[1]]])
                for mine, theirs in (
                    (self._keys, other._keys),
                    (self._weights, other._weights),
                    (self._rows, other._rows),
                )
            )
            # The greatest key first is a heap.
            order = np.argsort(keys, kind="stable")[:size][::-1]
            count = len(order)
            self._keys[s, :count] = keys[order]
            self._weights[s, :count] = weights[order]
            self._rows[s, :count] = rows[order]
            self._words[s, COUNT] = count
            self._words[s, SEEN] += other._words[s, SEEN]
            self._words[s, RANDOM] ^= other._words[s, RANDOM] >> 1
            self._words[s, RANDOM] |= 1
            if count == size:
                self._reals[s, _LEFT] = -math.log(uniform(self._words[s], RANDOM))

    def parts(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays that hold everything, by name."""
        return {
            "rows": self._rows,
            "keys": self._keys,
            "weights": self._weights,
            "words": self._words,
            "reals": self._reals,
        }

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """A copy of everything, by name."""
        return {name: part.copy() for name, part in self.parts().items()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a `state()`, to the bit. Raises StateError where that is of another shape."""
        for name, part in self.parts().items():
            if name not in state or state[name].shape != part.shape:
                found = state[name].shape if name in state else "nothing"
                raise StateError(f"reservoir: wanted {name} of shape {part.shape}, got {found}")
        for name, part in self.parts().items():
            part[...] = state[name]
