"""A sender and a subscriber, each a process of its own, and what they measure of one target."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from jobs.load.clients import consumer
from jobs.load.schedule import SECOND_NS, Arrivals, Int64s, schedule
from jobs.load.sender import Order, Sender, Supply
from jobs.load.subscriber import Heard, Subscriber, Watch
from jobs.load.traffic import Keys
from jobs.load.usage import Usage, usage
from jobs.load.worker import Worker
from streams.errors import InputError
from streams.kafka.cluster import ANSWER_S
from streams.kafka.failures import translated
from streams.kafka.library import Failure, Partition

SOON_S = 0.2
"""From an order to its first event."""
SETTLE_S, LOOK_S = 180.0, 4.0
"""How long a target may take to work off what was there before a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is measured: where its events go in, where its predictions come out, who does it."""

    name: str
    events: str
    predictions: str
    labels: str = ""
    """Where labels go; empty for a target that learns nothing."""
    processes: Mapping[str, int]
    """Process ids by what they are called in the results."""
    meanwhile: Callable[[], AbstractContextManager[None]] = nullcontext
    """Opened for the time of each run."""
    metric: Callable[[str], float] = lambda _: math.nan
    """Asks the score job for one of its metrics, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent in a run: `warm` seconds that do not count, then `seconds` that do."""

    rate: float
    seconds: float
    warm: float = 2.0
    arrivals: Arrivals = "steady"
    wait: float = 10.0
    """Seconds after the last event until a prediction that is not there is missing."""
    keys: Keys | None = None
    """How customers are drawn from now on, if not as before."""


class Observed(NamedTuple):
    """The counted part of a run, event by event."""

    due_ns: Int64s
    """When each event was due, since the run's start."""
    late_ns: Int64s
    """How long after that it was handed to the client."""
    latency_ns: Int64s
    """From when it was due to its first prediction; negative where there was none."""
    duplicates: int
    unsent: int
    bytes: float
    """Mean length of a prediction."""
    seconds: float
    """From the first counted event to the last prediction."""
    usage: Mapping[str, tuple[float, int]]
    """By process: share of one core, bytes of memory at the end."""
    first: int = 0
    """The number of the first of these events; the others follow."""


class Generator:
    """Open it with `with`; `run` may then be called as often as one likes.

    Sender and subscriber do not share an interpreter: neither ever waits for the other's.
    """

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._open = ExitStack()
        self._next = 0

    def __enter__(self) -> Self:
        opened, connection = self._open, self._supply.connection
        self._sender = opened.enter_context(closing(Worker(Sender, self._supply)))
        self._subscriber = opened.enter_context(closing(Worker(Subscriber, connection)))
        self._asking = opened.enter_context(closing(consumer(connection)))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def settle(self, target: Target) -> None:
        """Send an event now and then and return when one has its prediction: all before it is done.

        Raises InputError when none comes, or a process of the target has ended.
        """
        load = Load(rate=1, seconds=1, warm=0, wait=LOOK_S)
        deadline = time.monotonic() + SETTLE_S
        while self.run(target, load).latency_ns[0] < 0:
            ended = [name for name, pid in target.processes.items() if not usage(pid).rss_bytes]
            if ended or time.monotonic() > deadline:
                why = f"{', '.join(ended)} has ended" if ended else f"for {SETTLE_S:g} s"
                raise InputError(
                    f"{target.name}: wanted predictions in {target.predictions} of events sent to "
                    f"{target.events}, got none: {why}; is its job running?"
                )

    def run(self, target: Target, load: Load) -> Observed:
        """Send the load, wait for its predictions; what was seen of the part that counts."""
        due = schedule(load.arrivals, load.rate, load.warm + load.seconds, seed=self._next)
        first, self._next = self._next, self._next + len(due)
        pids = {**target.processes, "sender": self._sender.pid, "subscriber": self._subscriber.pid}
        start, begin = self._end(target), time.monotonic_ns() + int(SOON_S * SECOND_NS)
        ends = begin + int((load.warm + load.seconds) * SECOND_NS)
        until = ends + int(load.wait * SECOND_NS)
        run = self._supply.run
        self._subscriber.begin(Watch(target.predictions, start, run, first, len(due), until))
        self._sender.begin(Order(target.events, target.labels, begin, due, load.keys))
        before = _usage_at(begin + int(load.warm * SECOND_NS), pids)
        after = _usage_at(ends, pids)
        sent, heard = self._sender.answer(), self._subscriber.answer()
        counted = due >= int(load.warm * SECOND_NS)
        latency, duplicates = latencies(due + begin, heard)
        return Observed(
            due[counted],
            sent.late_ns[counted],
            latency[counted],
            duplicates,
            sent.unsent,
            heard.bytes / max(len(heard.numbers), 1),
            (float(heard.at_ns[-1] - begin) / SECOND_NS - load.warm) if len(heard.at_ns) else 0.0,
            {
                name: (
                    (after[name].cpu_seconds - before[name].cpu_seconds) / load.seconds,
                    after[name].rss_bytes,
                )
                for name in pids
            },
            first + int(np.argmax(counted)),
        )

    def _end(self, target: Target) -> int:
        """The offset after the last prediction there is."""
        place = Partition(target.predictions, 0)
        try:
            return int(self._asking.get_watermark_offsets(place, timeout=ANSWER_S)[1])
        except Failure as failure:
            raise translated(
                failure.args[0], f"{target.predictions}: wanted its last offset"
            ) from failure


def _usage_at(moment_ns: int, pids: Mapping[str, int]) -> dict[str, Usage]:
    time.sleep(max(moment_ns - time.monotonic_ns(), 0) / SECOND_NS)
    return {name: usage(pid) for name, pid in pids.items()}


def latencies(due: Int64s, heard: Heard) -> tuple[Int64s, int]:
    """From when each event was due to its first prediction, -1 without one; and the repeats."""
    numbers, first = np.unique(heard.numbers, return_index=True)
    latency = np.full(len(due), -1, np.int64)
    latency[numbers] = heard.at_ns[first] - due[numbers]
    return latency, len(heard.numbers) - len(numbers)
