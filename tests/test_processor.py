"""Who is idle to the scheduler lets others have the processor, and sleeps while they wait."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from streams import processor
from streams.processor import LONGEST_SECONDS, NAP_SECONDS, crowded, let_others

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="of Linux")


class Day:
    """Time that passes in sleep alone, or when it is told to."""

    def __init__(self) -> None:
        self.now, self.naps = 1000.0, 0

    def sleep(self, seconds: float) -> None:
        self.naps += 1
        self.now += seconds


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> Day:
    made = Day()
    monkeypatch.setattr(time, "sleep", made.sleep)
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    monkeypatch.setattr(processor, "_woke", [0.0])
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: os.SCHED_IDLE)
    return made


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have it crowded for so many looks from now on."""

    def crowded_for(looks: int) -> None:
        answers = iter([True] * looks)
        monkeypatch.setattr(processor, "crowded", lambda: next(answers, False))

    return crowded_for


def test_who_is_idle_sleeps_until_nobody_waits(day: Day, waiting: Callable[[int], None]) -> None:
    waiting(2)
    let_others()
    assert day.naps == 2


def test_it_goes_on_after_a_moment_whoever_waits(day: Day, waiting: Callable[[int], None]) -> None:
    waiting(1000)
    let_others()
    assert day.naps == pytest.approx(LONGEST_SECONDS / NAP_SECONDS, abs=1)


def test_it_sleeps_no_longer_than_it_has_worked(day: Day, waiting: Callable[[int], None]) -> None:
    waiting(0)
    let_others()
    waiting(1000)
    let_others()
    assert day.naps == 0
    day.now += 0.95 * NAP_SECONDS
    let_others()
    assert day.naps == 1


def test_who_is_not_idle_never_sleeps(
    day: Day, waiting: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: os.SCHED_OTHER)
    waiting(1000)
    let_others()
    assert day.naps == 0


def test_it_is_crowded_where_more_would_run_than_there_are_processors() -> None:
    with ExitStack() as stack:
        for _ in range((os.cpu_count() or 1) + 1):
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(busy.wait)
            stack.callback(busy.kill)
        deadline = time.monotonic() + 10.0
        while not crowded() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert crowded()


def test_where_linux_does_not_say_it_is_never_crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_load", lambda: -1)
    assert not crowded()
