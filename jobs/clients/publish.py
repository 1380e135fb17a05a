"""Files or simulated traffic to the topics of a deployment, with progress, until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from jobs.clients.outgoing import Records
from jobs.clients.pace import AtOnce, Pace
from jobs.clients.publisher import Publisher, Sent, Topics
from jobs.interrupt import interruptible
from jobs.status_line import StatusLine
from streams.broker import Broker
from streams.timestamps import time_text

FLUSH_S = 1.0
LAST_S = 5.0
"""How long after Ctrl-C what is under way may take."""


class Published(NamedTuple):
    """What became of it."""

    sent: Sent
    lost: int
    """Records handed to the client that the broker had not taken when the end was asked for."""
    interrupted: bool


def publish(broker: Broker, topics: Topics, records: Iterable[Records], pace: Pace) -> Published:
    """Send the records to topics that must exist, and wait until the broker has them all.

    While the broker is away records wait; Ctrl-C ends that too. To be called in the main thread.
    """
    broker.partitions(topics)
    producer = broker.producer()
    paced = not isinstance(pace, AtOnce)
    try:
        with StatusLine() as line, interruptible() as interrupt:
            rate = _Rate()
            publisher = Publisher(
                producer,
                topics,
                pace,
                in_order=not paced,
                ended=lambda: interrupt.asked,
                watch=lambda sent: line.say(lambda: said(sent, rate(sent), paced=paced)),
            )
            sent = publisher.run(records)
            asked = None
            while not producer.flush(FLUSH_S):
                line.say(lambda: f"{producer.waiting:,} records wait for the broker")
                if interrupt.asked:
                    asked = asked or time.monotonic()
                    if time.monotonic() - asked > LAST_S:
                        break
            return Published(sent, producer.waiting, interrupt.asked)
    finally:
        producer.close()


@dataclass(slots=True)
class _Rate:
    """Events a second since the last time it was asked."""

    events: int = 0
    seconds: float = 0.0

    def __call__(self, sent: Sent) -> float:
        events, seconds = sent.events - self.events, sent.seconds - self.seconds
        self.events, self.seconds = sent.events, sent.seconds
        return events / seconds if seconds > 0 else 0.0


def said(sent: Sent, rate: float, *, paced: bool) -> str:
    """Where it stands, in one line.

    >>> said(Sent(46_120, 310, 20.0, 0.0004, 0.02, 1_704_200_000_000_000), 2306.2, paced=True)
    '46,120 events, 310 labels  2,306 events/s  at 2024-01-02T12:53:20Z  0.4 ms late'
    """
    parts = [
        f"{sent.events:,} events, {sent.labels:,} labels",
        f"{rate:,.0f} events/s",
        f"at {time_text(sent.time_us)[:19]}Z",
        *([f"{sent.late * 1000:,.1f} ms late"] if paced else []),
    ]
    return "  ".join(parts)
