"""Handing on what was made of a batch, beside what comes next."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event, current_thread

import pytest

from jobs.kafka_host.handing_on import LARGE, HandingOn


@pytest.fixture
def handing_on() -> Iterator[HandingOn]:
    made = HandingOn(beside=True)
    yield made
    made.close()


def test_a_large_batch_goes_beside_and_a_small_one_at_once(handing_on: HandingOn) -> None:
    where = []
    for size in (LARGE, LARGE - 1):
        handing_on.begin(size, lambda: where.append(current_thread()))
    assert where[0] is not current_thread()
    assert where[1] is current_thread()


def test_without_a_thread_all_is_done_at_once() -> None:
    where = []
    HandingOn(beside=False).begin(LARGE, lambda: where.append(current_thread()))
    assert where == [current_thread()]


def test_what_is_begun_comes_after_what_was_begun_before(handing_on: HandingOn) -> None:
    may_go, done = Event(), list[int]()

    def slow() -> None:
        may_go.wait()
        done.append(0)

    handing_on.begin(LARGE, slow)
    handing_on.heed()
    assert not done
    may_go.set()
    for number in (1, 2, 3):
        handing_on.begin(LARGE * (number % 2), lambda number=number: done.append(number))  # type: ignore[misc]
    handing_on.settle()
    assert done == [0, 1, 2, 3]


def test_an_error_is_raised_once_by_the_next_call(handing_on: HandingOn) -> None:
    def broken() -> None:
        raise KeyError

    handing_on.begin(LARGE, broken)
    with pytest.raises(KeyError):
        handing_on.settle()
    handing_on.heed()
    handing_on.begin(LARGE, broken)
    with pytest.raises(KeyError):
        handing_on.begin(1, lambda: pytest.fail("came after an error"))
