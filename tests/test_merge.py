"""The merge of several inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.broker import Run
from streams.errors import StateError
from streams.merge import Merge, Taken
from streams.payloads import Payloads

stamps = st.lists(st.integers(0, 20), max_size=12)


def run(input: int, stamps: list[int], first: int = 0) -> Run:
    n = len(stamps)
    offsets = np.arange(first, first + n)
    values = Payloads.of([f"{input}/{offset}".encode() for offset in offsets])
    return Run(input, offsets, np.array(stamps, np.int64), Payloads.of([None] * n), values)


def filled(inputs: list[list[int]]) -> Merge:
    merge = Merge([1] * (len(inputs) - 1) + [0])
    for place, each in enumerate(inputs):
        if each:
            merge.push(run(place, each))
    return merge


def drained(merge: Merge, limit: int, inputs: int) -> list[Taken]:
    parts = []
    while len(part := merge.take(limit, [False] * inputs)):
        parts.append(part)
    return parts


@given(st.lists(stamps, min_size=1, max_size=4), st.integers(1, 9))
def test_every_record_comes_once_by_stamp_and_in_its_inputs_order(
    inputs: list[list[int]], limit: int
) -> None:
    parts = drained(filled(inputs), limit, len(inputs))
    seen = [value or b"" for part in parts for value in part.values]
    assert sorted(seen) == sorted(
        f"{place}/{offset}".encode() for place, n in enumerate(inputs) for offset in range(len(n))
    )
    if all(each == sorted(each) for each in inputs):
        flat = [stamp for part in parts for stamp in part.stamps.tolist()]
        assert flat == sorted(flat)
    for part in parts:
        for place in range(len(inputs)):
            mine = part.offsets[part.inputs == place].tolist()
            assert mine == sorted(mine)


@given(st.lists(stamps, min_size=1, max_size=4), st.integers(1, 9), st.integers(1, 9))
def test_the_order_does_not_depend_on_how_many_are_taken_at_a_time(
    inputs: list[list[int]], few: int, many: int
) -> None:
    one, other = (
        [value for part in drained(filled(inputs), limit, len(inputs)) for value in part.values]
        for limit in (few, many)
    )
    assert one == other


@given(st.lists(stamps, min_size=1, max_size=4), st.integers(1, 9))
def test_what_was_taken_is_taken_again_by_its_ranges(inputs: list[list[int]], limit: int) -> None:
    again = filled(inputs)
    for part in drained(filled(inputs), limit, len(inputs)):
        same = again.exactly(part.ranges)
        assert same is not None
        assert list(same.values) == list(part.values)


def test_at_equal_stamps_the_lower_rank_comes_first() -> None:
    merge = filled([[5, 6], [5]])
    assert list(merge.take(9, [False, False]).values) == [b"1/0", b"0/0", b"0/1"]


def test_an_input_known_to_hold_more_is_waited_for_and_one_at_its_end_is_not() -> None:
    merge = filled([[5, 6, 9], []])
    assert len(merge.take(9, [False, True])) == 0
    merge.push(run(1, [6]))
    assert list(merge.take(9, [False, True]).values) == [b"0/0", b"1/0"]
    merge.push(run(1, [6], first=1))
    assert list(merge.take(9, [False, False]).values) == [b"1/1", b"0/1", b"0/2"]


def test_ranges_that_are_not_all_here_yet_are_waited_for() -> None:
    merge, part = filled([[1, 2]]), filled([[1, 2, 3]]).take(9, [False])
    assert merge.exactly(part.ranges) is None


def test_another_record_in_a_range_is_refused() -> None:
    merge = Merge([0])
    merge.push(run(0, [1, 2], first=7))
    with pytest.raises(StateError, match="wanted records 0 to 1 of input 0, found 7 to 8"):
        merge.exactly(filled([[1, 2]]).take(9, [False]).ranges)
