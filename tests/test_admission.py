"""Two events with one id are the same only if every word of them is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from operators.admission import content_hash


@given(st.lists(st.integers(-3, 3), min_size=8, max_size=8), st.integers(0, 7))
def test_no_small_change_of_an_event_goes_unnoticed(words: list[int], place: int) -> None:
    hashes = set()
    for change in range(5):
        time, hi, lo, hi2, lo2, number, number2, category = (
            word + change * (at == place) for at, word in enumerate(words)
        )
        idents = np.array([[[0, 0], [hi, lo], [hi2, lo2]]])
        columns = np.array([[number, number2]]), np.array([[category]])
        hashes.add(content_hash(np.array([time]), 0, *columns, idents))
    assert len(hashes) == 5


def test_the_time_of_an_event_and_its_values_are_not_confused() -> None:
    hashes = set()
    for bits in range(1 << 6):
        time, hi, lo, number, number2, category = ((bits >> at) & 1 for at in range(6))
        columns = np.array([[number, number2]]), np.array([[category]])
        hashes.add(content_hash(np.array([time]), 0, *columns, np.array([[[0, 0], [hi, lo]]])))
    assert len(hashes) == 1 << 6
