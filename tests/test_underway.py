"""A reader on Flink waits for what is under way in its process, and not for ever."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from jobs.flink_host import underway
from jobs.flink_host.underway import Hop, Queue, hop


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hop]:
    """From a task to another that is known to be in this process; one parcel is under way."""
    monkeypatch.setattr(underway, "LONGEST_S", 0.02)
    way = hop("job", 1, 0, 1)
    way.sent, way.done, way.here = 3, 2, True
    yield way
    underway._HOPS.clear()


def waits(queue: Queue, *, small: bool = True) -> bool:
    """Whether a reader does not take a batch now."""
    return not queue.empty_by(time.monotonic(), small=small)


def test_a_small_batch_waits_for_what_is_under_way_and_a_large_one_does_not(way: Hop) -> None:
    queue = Queue("job")
    assert waits(queue)
    assert not waits(queue, small=False)
    way.work_done()
    assert not waits(queue)


def test_what_is_lost_or_went_to_another_process_is_not_waited_for(way: Hop) -> None:
    queue = Queue("job")
    assert queue.empty_by(time.monotonic() + 10, small=True)
    way.sent += 1
    assert not waits(queue)


def test_what_took_too_long_is_counted_right_again_once_it_is_done(way: Hop) -> None:
    queue = Queue("job")
    assert queue.empty_by(time.monotonic() + 10, small=True)
    way.work_done()
    way.sent += 1
    assert waits(queue)
    way.work_done()
    assert not waits(queue)


def test_a_task_is_not_held_up_by_what_its_sender_counted_before_it_went_elsewhere(
    way: Hop,
) -> None:
    way.sent, way.done = 1000, 0
    queue = Queue("job")
    assert queue.empty_by(time.monotonic() + 10, small=True)
    way.work_done()
    assert not waits(queue)
