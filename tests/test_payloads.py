"""Byte strings in one buffer."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.payloads import Payloads

some = st.lists(st.none() | st.binary(max_size=5), max_size=6)


@given(some)
def test_what_was_put_in_comes_out(values: list[bytes | None]) -> None:
    held = Payloads.of(values)
    assert list(held) == values == [held[place] for place in range(len(values))]
    assert held.full() == [each or b"" for each in values]
    assert held.lengths.tolist() == [-1 if each is None else len(each) for each in values]


@given(some, st.integers(0, 6), st.integers(0, 6), st.randoms())
def test_parts_are_those_of_a_list(
    values: list[bytes | None], start: int, stop: int, drawn: np.random.RandomState
) -> None:
    held, rows = Payloads.of(values), list(range(len(values)))
    drawn.shuffle(rows)
    assert list(held[start:stop]) == values[start:stop]
    assert list(held.take(np.array(rows, np.int64))) == [values[row] for row in rows]


@given(st.lists(some, max_size=4))
def test_joined_they_follow_each_other(parts: list[list[bytes | None]]) -> None:
    made = [Payloads.of(part) for part in parts]
    joined = Payloads.concat([half for each in made for half in (each[1:], each[:1])])
    assert list(joined) == [value for part in parts for value in (*part[1:], *part[:1])]
    assert len(joined.text) <= sum(len(each.text) for each in made)


@given(some, st.integers(0, 6), st.booleans())
def test_as_lines_each_ends_in_a_line_break(
    values: list[bytes | None], start: int, bare: bool
) -> None:
    held = Payloads.of(values)[start:]
    if bare:
        text = np.frombuffer(b"".join(held.full()), np.uint8)
        stops = np.cumsum([len(each) for each in held.full()], dtype=np.int64)
        held = Payloads(text, stops - np.maximum(held.lengths, 0), stops)
    lines = held.lines()
    assert list(lines) == held.full()
    assert all(lines.text[stop] == ord("\n") for stop in lines.stops.tolist())
