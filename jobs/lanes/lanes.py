"""Which lane a key belongs to, which task owns it, and rows sorted into lanes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from streams.ident import mix
from streams.jit import kernel

Int64s = npt.NDArray[np.int64]
_UPPER = np.uint64(40)
"""The lower bits place a key inside a task's table: the lane takes others."""


@kernel("void(int64[:, ::1], int64, int64[::1])")
def _lanes(idents: Int64s, count: int, out: Int64s) -> None:
    for i in range(len(idents)):
        word = mix(np.uint64(idents[i, 0]) ^ np.uint64(idents[i, 1]))
        out[i] = np.int64(word >> _UPPER) % count


def lanes_of(idents: Int64s, count: int) -> Int64s:
    """The lane of each ident (n, 2), from 0 to `count` − 1.

    >>> lanes_of(np.array([[0, 42], [0, 42]]), 16).tolist()
    [9, 9]
    """
    out = np.empty(len(idents), np.int64)
    _lanes(np.ascontiguousarray(idents), count, out)
    return out


def tasks_of(lanes: Int64s, count: int, tasks: int) -> Int64s:
    """Which of so many tasks owns each lane of `count`: neighbours together, as Flink has it.

    >>> tasks_of(np.arange(5), 5, 2).tolist()
    [0, 0, 0, 1, 1]
    """
    return lanes * tasks // count


def first_lane(task: int, count: int, tasks: int) -> int:
    """The first lane that a task owns.

    >>> [first_lane(task, 5, 2) for task in range(2)]
    [0, 3]
    """
    return -(-task * count // tasks)


def runs(lanes: Int64s) -> tuple[Int64s, Iterator[tuple[int, int, int]]]:
    """An order that brings rows of a lane together, each lane's in their own order, and the runs.

    A run is (lane, first place, place after the last) in that order.

    >>> order, found = runs(np.array([1, 0, 1]))
    >>> order.tolist(), list(found)
    ([1, 0, 2], [(0, 0, 1), (1, 1, 3)])
    """
    order, found = np.empty(len(lanes), np.int64), np.empty((len(lanes), 3), np.int64)
    count = _runs(lanes, order, found)
    return order, map(tuple, found[:count].tolist())


@kernel("int64(int64[::1], int64[::1], int64[:, ::1])")
def _runs(lanes: Int64s, order: Int64s, found: Int64s) -> int:
    """By counting. Returns how many lanes were found."""
    if not len(lanes):
        return 0
    places = np.zeros(lanes.max() + 1, np.int64)
    for lane in lanes:
        places[lane] += 1
    count = 0
    at = 0
    for lane in range(len(places)):
        if places[lane]:
            found[count, 0] = lane
            found[count, 1] = at
            at += places[lane]
            found[count, 2] = at
            places[lane] = found[count, 1]
            count += 1
    for row in range(len(lanes)):
        order[places[lanes[row]]] = row
        places[lanes[row]] += 1
    return count
