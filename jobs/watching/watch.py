"""Looking at jobs or at a run's folder: once, or again and again until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

from rich.console import Console
from rich.live import Live

from jobs.interrupt import interruptible
from jobs.watching.alarms import DriftTopic
from jobs.watching.figures import Figures
from jobs.watching.live_jobs import Jobs
from jobs.watching.scrape import Scrape
from jobs.watching.screen import WIDE, screen
from streams.errors import InputError
from streams.timestamps import time_text

OFTEN, SELDOM = 1.0, 10.0
"""Seconds between two looks, on a terminal and elsewhere."""
BROKER_S = 3.0
"""How long a single look waits for the alarms that the broker has."""
POLL_S = 0.1
"""How soon Ctrl-C and another size of the terminal are noticed."""
HIGH = 60
"""Rows of a single screen, if it is not on a terminal."""
Look = Callable[[str], Figures]
"""Look once more; given what to show as the time."""


def of_jobs(addresses: Sequence[str], drift: DriftTopic, *, once: bool) -> Look:
    """Looks at jobs and at the alarms; with `once` raises InputError where no job answers."""
    seen = Jobs(addresses)

    def look(clock: str) -> Figures:
        seen.take(time.monotonic(), _answers(addresses))
        if once and not seen.answering:
            raise InputError(
                f"{', '.join(addresses)}: wanted the /metrics of a job, none answers: start one "
                "with headrace run --metrics-port 9464, or say --job HOST:PORT"
            )
        if once:  # rates are of two looks
            time.sleep(OFTEN)
            seen.take(time.monotonic(), _answers(addresses))
            drift.wait(BROKER_S)
        return seen.figures(clock, drift.alarms, drift.problem)

    return look


def show_once(look: Look, console: Console) -> None:
    """Print one screen."""
    height = console.height - 1 if console.is_terminal else HIGH
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    console.print(screen(look(_now()), width=console.width, height=height))


def show_live(look: Look, console: Console) -> None:
    """Look every second and show it, until Ctrl-C; without a terminal a line now and then."""
    with interruptible() as interrupt:
        if not console.is_terminal:
            while not interrupt.asked:
                console.print(f"{_now()} {look('').line}", highlight=False, soft_wrap=True)
                _rest(SELDOM, lambda: interrupt.asked)
            return
        with Live(console=console, auto_refresh=False, screen=True) as live:
            while not interrupt.asked:
                figures, size = look(f"{_now()}, Ctrl-C ends it"), None
                due = time.monotonic() + OFTEN
                while time.monotonic() < due and not interrupt.asked:
                    if console.size != size:
                        size = console.size
                        live.update(
                            screen(figures, width=size.width, height=size.height), refresh=True
                        )
                    time.sleep(POLL_S)


def _rest(seconds: float, ended: Callable[[], bool]) -> None:
    due = time.monotonic() + seconds
    while time.monotonic() < due and not ended():
        time.sleep(POLL_S)


def _now() -> str:
    return time_text(time.time_ns() // 1000)[11:19]


def _answers(addresses: Sequence[str]) -> dict[str, Scrape | None]:
    """What each job says, asked all at once; None of one that does not answer."""
    with ThreadPoolExecutor(len(addresses)) as pool:
        return dict(zip(addresses, pool.map(_answer, addresses), strict=True))


def _answer(address: str) -> Scrape | None:
    try:
        return Scrape.of(address)
    except (OSError, ValueError, HTTPException):
        return None
