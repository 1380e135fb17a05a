"""Whatever the order of arrival, the label that became known last holds."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.admission import COUNTS
from operators.labels import (
    BY_LABEL,
    BY_LATE_LABEL,
    BY_REVERSAL,
    LABEL_CONTRADICTING,
    LABEL_DUPLICATE,
    LABEL_LATE,
    LABEL_MATCHED,
    LABEL_REVERSED,
    LABEL_SUPERSEDED,
    NO_EXAMPLE,
    drop,
    find,
    held,
    put,
    settle,
    table_of,
)

GENUINE, FRAUD = 1, 2


def word(known: int, value: int) -> int:
    return known << 2 | value


@pytest.mark.parametrize(
    ("before", "label", "matured", "became", "after", "cause"),
    [
        (0, word(5, FRAUD), False, LABEL_MATCHED, word(5, FRAUD), BY_LABEL),
        (0, word(5, GENUINE), False, LABEL_MATCHED, word(5, GENUINE), BY_LABEL),
        (0, word(5, FRAUD), True, LABEL_LATE, word(5, FRAUD), BY_LATE_LABEL),
        (0, word(5, GENUINE), True, LABEL_LATE, word(5, GENUINE), NO_EXAMPLE),
        (word(5, FRAUD), word(7, FRAUD), True, LABEL_DUPLICATE, word(7, FRAUD), NO_EXAMPLE),
        (word(5, FRAUD), word(3, FRAUD), True, LABEL_DUPLICATE, word(5, FRAUD), NO_EXAMPLE),
        (word(5, FRAUD), word(7, GENUINE), True, LABEL_REVERSED, word(7, GENUINE), BY_REVERSAL),
        (word(5, GENUINE), word(7, FRAUD), False, LABEL_REVERSED, word(7, FRAUD), BY_REVERSAL),
        (word(5, FRAUD), word(3, GENUINE), True, LABEL_SUPERSEDED, word(5, FRAUD), NO_EXAMPLE),
        (word(5, FRAUD), word(5, GENUINE), 0, LABEL_CONTRADICTING, word(5, FRAUD), NO_EXAMPLE),
        (word(5, GENUINE), word(5, FRAUD), 0, LABEL_CONTRADICTING, word(5, FRAUD), BY_REVERSAL),
    ],
)
def test_every_case_of_a_label_is_defined(
    before: int, label: int, matured: bool, became: int, after: int, cause: int
) -> None:
    assert settle(before, label, bool(matured)) == (became, after, cause)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([GENUINE, FRAUD])), min_size=1, max_size=4
    ),
    st.booleans(),
)
def test_the_label_that_holds_does_not_depend_on_their_order(
    labels: list[tuple[int, int]], matured: bool
) -> None:
    ends = set()
    for order in permutations(labels):
        last = 0
        for known, value in order:
            _, last, _ = settle(last, word(known, value), matured)
        ends.add(last)
    assert ends == {word(*max(labels))}


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 9)),
        min_size=40,
        max_size=99,
    )
)
def test_a_table_holds_what_a_dict_holds(steps: list[tuple[int, int, int]]) -> None:
    table, plain = table_of(np.zeros((0, 3), np.int64), 42), {}
    for a, b, value in steps:
        key = (a, b)
        if value:
            assert put(table, *key, value) == (key not in plain)
            plain[key] = value
        elif plain.pop(key, 0):
            drop(table, find(table, *key))
        assert (find(table, *key) >= 0) == (key in plain)
    expected = [[value, *key] for key, value in sorted(plain.items())]
    assert held(table).tolist() == expected
    assert held(table_of(held(table), 100)).tolist() == expected


def test_the_page_on_labels_names_every_count() -> None:
    page = (Path(__file__).parents[1] / "docs" / "labels.md").read_text(encoding="utf-8")
    assert [name for name in COUNTS if f"`{name}`" not in page] == []
