"""The table of ids answers as a dict does, when it is full too, and wherever its rows begin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.idtable import (
    BLOCKS,
    FIRST,
    HI,
    LO,
    NEXT,
    SHIFT,
    SPILLED,
    add_row,
    drop_row,
    find_row,
    shift_for,
    slots_for,
    spread,
)

IDS = [i for i in range(500_000) if spread(0, i) >> 48 < 8]
"""Ids that share their 16 bits with others, so that many slots are equal."""


@given(
    st.lists(st.sampled_from([*IDS, *[-1] * 20]), min_size=80, max_size=200),
    st.sampled_from([32, 64, 1024]),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([0, 5, BLOCKS - 40, 3 * BLOCKS - 7, 8 * BLOCKS - 33]),
)
def test_ids_are_found_in_any_block_across_the_wrap_and_in_the_list(
    steps: list[int], size: int, shift: int, first: int
) -> None:
    slots, spill = np.zeros(size, np.uint32), np.zeros(200, np.int64)
    ids = np.zeros((first + len(steps), 4), np.int64)
    book = np.zeros(4, np.int64)
    book[[FIRST, NEXT, SHIFT]] = first, first, shift
    plain: dict[int, int] = {}
    for step in steps:
        if step >= 0 and step not in plain:
            row = int(book[NEXT])
            ids[row, HI], ids[row, LO] = 0, step
            book[NEXT] += 1
            add_row(slots, spill, book, spread(0, step), row)
            plain[step] = row
        elif step < 0 and plain:
            oldest = min(plain, key=plain.__getitem__)
            drop_row(slots, spill, book, spread(0, oldest), plain.pop(oldest))
            book[FIRST] += 1
        found = {i: find_row(slots, spill, ids, book, spread(0, i), 0, i) for i in IDS}
        assert found == {i: plain.get(i, -1) for i in IDS}
    assert book[SPILLED] + np.count_nonzero(slots) == len(plain)


@pytest.mark.parametrize("rows", [1, 768, 769, 49_152, 49_153, 20_000_000, 10**9])
def test_live_rows_fill_three_quarters_at_most_and_fewer_blocks_than_have_numbers(
    rows: int,
) -> None:
    slots = slots_for(rows)
    assert rows <= slots * 3 / 4
    assert (slots * 3 // 4 >> shift_for(slots)) + 2 < BLOCKS
