"""Sends a schedule's events, each when it is due or as soon after that as it can.

It never skips and never slows the schedule down: after a stall all that fell due meanwhile goes out
at once, and its lateness is on record.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jobs.load.clients import hand_over, producer
from jobs.load.schedule import Int64s
from jobs.load.traffic import CUSTOMERS, TERMINALS, Keys, Traffic
from streams.errors import ConfigError

AHEAD = 128
"""Payments made at a time: an eighth of a millisecond's work."""
TICK_S = 0.0005
"""The shortest sleep: events due within it go together."""
FLUSH_S = 60.0


class Supply(NamedTuple):
    """Where events come from and where they go."""

    connection: Mapping[str, Any]
    """librdkafka's settings that say where the cluster is and how to get in."""
    linger_ms: float
    run: int
    keys: Keys
    start_us: int
    per_day: float
    customers: int = CUSTOMERS
    terminals: int = TERMINALS


class Order(NamedTuple):
    """What is to be sent, to which topics and when. `labels` may be empty: none are sent.

    `keys` says how customers are drawn from now on, if not as before; up to AHEAD payments that
    were made for the order before are sent first.
    """

    events: str
    labels: str
    begin_ns: int
    """What the monotonic clock shows at the schedule's start."""
    due: Int64s
    keys: Keys | None = None


class Sent(NamedTuple):
    """What became of an order."""

    late_ns: Int64s
    """How long after it was due each event was handed to the client."""
    unsent: int
    """Events that the broker did not acknowledge."""


class Sender:
    """One producer, and traffic that goes on from order to order: numbers, times and labels."""

    def __init__(self, supply: Supply) -> None:
        self._producer = producer(supply.connection, supply.linger_ms)
        self._traffic = Traffic(
            run=supply.run,
            keys=supply.keys,
            start_us=supply.start_us,
            per_day=supply.per_day,
            customers=supply.customers,
            terminals=supply.terminals,
        )
        self._made: list[dict[str, Any]] = []

    def __call__(self, order: Order) -> Sent:
        """Send it all, and wait until the broker has it."""
        due = order.due + order.begin_ns
        self._traffic.keys = order.keys or self._traffic.keys
        late = np.empty(len(due), np.int64)
        sent = 0
        while sent < len(due):
            now = time.monotonic_ns()
            fallen = int(np.searchsorted(due[sent : sent + AHEAD], now, side="right"))
            if not fallen:
                time.sleep(max((int(due[sent]) - now) / 1e9, TICK_S))
                continue
            if not self._made:
                self._made = self._make(order)
            ready, self._made = self._made[:fallen], self._made[fallen:]
            hand_over(self._producer, order.events, ready)
            stop = sent + len(ready)
            late[sent:stop] = time.monotonic_ns() - due[sent:stop]
            sent = stop
        return Sent(late, self._producer.flush(FLUSH_S))

    def _make(self, order: Order) -> list[dict[str, Any]]:
        made = self._traffic.take(AHEAD)
        if self._traffic.time_us > time.time_ns() // 1000:
            raise ConfigError(
                "the event time of the traffic has come to the present, and what is dated later is "
                "refused; let a day hold more events, or begin with new topics"
            )
        if order.labels and made.labels:
            hand_over(self._producer, order.labels, [{"value": label} for label in made.labels])
        pairs = zip(made.values, made.keys, strict=True)
        return [{"value": value, "key": key} for value, key in pairs]
