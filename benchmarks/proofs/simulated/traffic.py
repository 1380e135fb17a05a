"""What is published in one schedule: transactions and labels with everything that goes wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import orjson

from streams.broker import Headers
from streams.schema import SECOND
from streams.topics import LABELS, TRANSACTIONS

BEGAN = 1_520_000_000 * SECOND
"""Events are of 2018; the broker's clock is years ahead of them."""
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
LAST = "last"
"""The id of the transaction that is published when all is quiet."""
DELAYS = (5 * MINUTE, HOUR, 5 * HOUR, 7 * HOUR, 60 * HOUR)
"""Of labels: before and after the maturity of 6 h, and beyond the retention of 2 d."""
GARBAGE = (
    b"",
    b"{",
    b"\xff\xfe",
    b"[]",
    b'"text"',
    b'{"id":"g"}',
    b'{"id":"g","time":"soon","customer":"a","terminal":"b","amount":1}',
    b'{"id":"g","time":1520000000,"customer":"a","terminal":"b","amount":1}',
    b'{"id":"g","time":5000000000000000,"customer":"a","terminal":"b","amount":1}',
    b'{"id":"g","time":1520000000000000,"customer":"a","terminal":"b","amount":-1}',
    b'{"id":"g","time":1520000000000000,"customer":"a","terminal":"b","amount":1,"id":"h"}',
    b'{"id":"g","time":1520000000000000,"fraud":"perhaps"}',
    b"x" * 600,
)


@dataclass(frozen=True, slots=True)
class Sent:
    """A record as somebody publishes it."""

    at: int
    """When in event time it is sent: what comes first is published first."""
    topic: str
    value: bytes | None
    key: bytes | None
    headers: Headers | None = None


def traffic(rng: Random, *, late: bool) -> list[Sent]:
    """The records of one schedule in the order they are published; `late`: beyond the lateness."""
    sent: list[Sent] = []
    for number in range(rng.randint(30, 60)):
        time = BEGAN + number * 7 * MINUTE + rng.randrange(5 * MINUTE) // SECOND * SECOND
        sent.extend(about(rng, number, time, "aab", "xy", late=late))
    if rng.random() < 0.03:  # time leaps: all matures and much is forgotten at once
        at = rng.choice(sent).at
        sent.append(_label(at, "stranger", at + rng.randint(10, 2000) * HOUR, fraud=True))
    return sorted(sent, key=lambda each: each.at)


def about(
    rng: Random,
    number: int,
    time: int,
    customers: Sequence[str],
    terminals: Sequence[str],
    *,
    late: bool,
) -> Iterator[Sent]:
    """One transaction and all that is sent because of it: its labels up to 8 h before it."""
    event: dict[str, Any] = {
        "id": f"t{number}",
        "time": time,
        "customer": rng.choice(customers),
        "terminal": rng.choice(terminals),
        "amount": rng.randint(1, 90_000) / 100,
    }
    yield from _event(rng, event, late=late)
    yield from _labels(rng, event["id"], time, late=late)
    if rng.random() < 0.04:
        topic = rng.choice((TRANSACTIONS, LABELS))
        value = rng.choice((*GARBAGE, None))
        yield Sent(time, topic, value, rng.choice((None, b"a")))


def last(sent: Sequence[Sent]) -> Sent:
    """One more transaction, after all others."""
    time = max(each.at for each in sent) + HOUR
    event = {"id": LAST, "time": time, "customer": "a", "terminal": "x", "amount": 1}
    return Sent(time, TRANSACTIONS, orjson.dumps(event), b"a")


def _event(rng: Random, event: dict[str, Any], *, late: bool) -> Iterator[Sent]:
    disorder = rng.randrange(20 * MINUTE) if rng.random() < 0.3 else 0
    if late and rng.random() < 0.05:
        disorder = rng.randrange(30 * HOUR)
    at = int(event["time"]) + disorder
    headers = [("trace", b"%d" % rng.randrange(99))] if rng.random() < 0.1 else None
    yield Sent(at, TRANSACTIONS, orjson.dumps(event), event["customer"].encode(), headers)
    if rng.random() < 0.08:
        again = at + (rng.randrange(3 * HOUR if late else 5 * MINUTE))
        other = dict(reversed(event.items())) | ({"amount": 7} if rng.random() < 0.3 else {})
        yield Sent(again, TRANSACTIONS, orjson.dumps(other), event["customer"].encode())


def _labels(rng: Random, ident: str, time: int, *, late: bool) -> Iterator[Sent]:
    while rng.random() < 0.55:
        fraud, known = rng.random() < 0.4, time + rng.choice(DELAYS) + rng.randrange(HOUR)
        at = known + rng.choice((0, 0, 0, -8 * HOUR, 3 * HOUR if late else 20 * MINUTE))
        yield _label(at, ident if rng.random() < 0.95 else "stranger", known, fraud=fraud)


def _label(at: int, ident: str, known: int, *, fraud: bool) -> Sent:
    said = {"id": ident, "time": known, "fraud": fraud}
    return Sent(at, LABELS, orjson.dumps(said), ident.encode())
