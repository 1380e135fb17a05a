"""Columns of short texts, several at once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from streams.ident import idents
from streams.texts import text_columns

plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(plain, min_size=n, max_size=n))))
def test_columns_together_are_what_each_is_alone(columns: list[list[str]]) -> None:
    found = text_columns(columns, longest=8)
    fit = all(1 <= len(value.encode()) <= 8 for column in columns for value in column)
    assert (found is not None) == (fit and bool(columns))
    if found:
        for column, array, each in zip(columns, *found, strict=True):
            alone = pa.array(column, pa.large_string())
            assert array.equals(alone)
            assert np.array_equal(each, idents(alone))


def test_what_is_not_all_text_is_left_to_be_looked_at_one_by_one() -> None:
    for odd in (1, None, 2.5, "\ud800"):
        assert text_columns([["a", odd]], longest=8) is None
