"""What a label does: the closed list of cases, and the one rule that decides among them.

Of the labels of one event the one that became known last holds, and at equal times the positive
one. So the label that holds in the end does not depend on the order in which labels and events
arrive, although what is learnt on the way does. An event that has no label when its maturity has
passed is a negative until a label says otherwise. `docs/labels.md` has the cases in a table.

Labels are held in open-addressing tables of int64 rows (word, a, b): (a, b) is the key, and a word
of zero is an empty row. A word is `known_us << 2`, plus 1 for a negative and 2 for a positive, so
the larger word is the one that holds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.idtable import spread
from streams.jit import kernel

(
    ADMITTED,
    DUPLICATE,
    CONFLICTING,
    LABEL_MATCHED,
    LABEL_LATE,
    LABEL_DUPLICATE,
    LABEL_CONTRADICTING,
    LABEL_REVERSED,
    LABEL_SUPERSEDED,
    LABEL_WAITING,
) = range(10)
"""What became of a row: the first three of an event, the others of a label."""

BY_LABEL, BY_MATURITY, BY_LATE_LABEL, BY_REVERSAL = range(4)
"""Why there is an example."""

NO_EXAMPLE = -1
_LEAST_ROWS = 64


@kernel("UniTuple(int64, 3)(int64, int64, boolean)")
def settle(held, word, matured):  # type: ignore[no-untyped-def]
    """Decide on a label, given the word that is held (0: none) and whether the event has matured.

    Returns what became of the label, the word now held, and why there is an example, if there is.

    >>> settle(0, 5 << 2 | 2, False) == (LABEL_MATCHED, 5 << 2 | 2, BY_LABEL)
    True
    >>> settle(5 << 2 | 2, 5 << 2 | 1, False) == (LABEL_CONTRADICTING, 5 << 2 | 2, NO_EXAMPLE)
    True
    """
    if held == 0:
        if not matured:
            return LABEL_MATCHED, word, BY_LABEL
        return LABEL_LATE, word, BY_LATE_LABEL if word & 3 == 2 else NO_EXAMPLE
    if held & 3 == word & 3:
        return LABEL_DUPLICATE, max(held, word), NO_EXAMPLE
    if held >> 2 == word >> 2:
        return LABEL_CONTRADICTING, max(held, word), BY_REVERSAL if word > held else NO_EXAMPLE
    if word > held:
        return LABEL_REVERSED, word, BY_REVERSAL
    return LABEL_SUPERSEDED, held, NO_EXAMPLE


@kernel("int64(int64[:, ::1], int64, int64)")
def find(table, a, b):  # type: ignore[no-untyped-def]
    """The place of a key in the table, or -1 less the place where it would go."""
    mask = len(table) - 1
    at = np.int64(spread(a, b)) & mask
    while table[at, 0]:
        if table[at, 1] == a and table[at, 2] == b:
            return at
        at = (at + 1) & mask
    return -1 - at


@kernel("int64(int64[:, ::1], int64, int64, int64)")
def put(table, a, b, word):  # type: ignore[no-untyped-def]
    """Hold a word under a key; returns how many keys that adds, 0 or 1. There is room for it."""
    at = find(table, a, b)
    added = at < 0
    if added:
        at = -1 - at
        table[at, 1] = a
        table[at, 2] = b
    table[at, 0] = word
    return np.int64(added)


@kernel("void(int64[:, ::1], int64)")
def drop(table, at):  # type: ignore[no-untyped-def]
    """Empty a place, moving back what would no longer be found (Knuth's algorithm R)."""
    mask = len(table) - 1
    table[at, 0] = 0
    hole = at
    at = (at + 1) & mask
    while table[at, 0]:
        home = np.int64(spread(table[at, 1], table[at, 2])) & mask
        if (at - home) & mask >= (at - hole) & mask:
            for w in range(3):
                table[hole, w] = table[at, w]
            table[at, 0] = 0
            hole = at
        at = (at + 1) & mask


@kernel("void(int64[:, ::1], int64[:, ::1])")
def put_all(table, rows):  # type: ignore[no-untyped-def]
    """Hold every word of `rows` that is not zero."""
    for i in range(len(rows)):
        if rows[i, 0]:
            put(table, rows[i, 1], rows[i, 2], rows[i, 0])


def slots_of(keys: int) -> int:
    """How many rows a table needs to be at most two thirds full.

    >>> slots_of(100)
    256
    """
    return max(_LEAST_ROWS, 1 << (keys * 3 // 2).bit_length())


def table_of(rows: npt.NDArray[np.int64], keys: int) -> npt.NDArray[np.int64]:
    """A table that holds `rows` (word, a, b) and has room for this many keys in all.

    >>> table_of(np.array([[4, 7, 0]]), 100).shape
    (256, 3)
    """
    table = np.zeros((slots_of(keys), 3), np.int64)
    put_all(table, np.ascontiguousarray(rows))
    return table


def held(table: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The rows (word, a, b) that a table holds, by key: the same for every history of the table."""
    rows = table[table[:, 0] != 0]
    return np.ascontiguousarray(rows[np.lexsort((rows[:, 2], rows[:, 1]))])
