"""The floor: takes a record and hands on one of the size of a prediction, nothing between.

`python -m jobs.load.echo ERRAND`, an `Errand` as JSON, runs until it is killed. Its clients are set
as those of the score job, and it commits as often.
"""

from __future__ import annotations

import gc
import sys
import time
from typing import Any

import msgspec

from jobs.load.clients import consumer, hand_over, producer
from streams.kafka.library import Partition

MANY = 10_000
ID_ENDS = len('{"id":"170000000000000001"')
WAIT_S = 0.1


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """From where to where, and how large."""

    connection: dict[str, Any]
    source: str
    target: str
    bytes: int
    commit_ms: int
    linger_ms: float


def echo(errand: Errand) -> None:
    """Hand on the id of every record from the first on, filled up to the size."""
    taken = consumer(errand.connection)
    given = producer(errand.connection, errand.linger_ms)
    taken.assign([Partition(errand.source, 0, 0)])
    filling = b',"features":"' + b"0" * max(errand.bytes - ID_ENDS - 15, 0) + b'"}'
    gc.collect()
    gc.freeze()
    gc.disable()
    due = time.monotonic()
    while True:
        message = taken.poll(WAIT_S)
        given.poll(0)
        if message is None or message.error():
            continue
        messages = [each for each in (message, *taken.consume(MANY, 0)) if not each.error()]
        hand_over(
            given,
            errand.target,
            [{"value": each.value()[:ID_ENDS] + filling, "key": each.key()} for each in messages],
        )
        if time.monotonic() >= due:
            taken.commit(message=messages[-1], asynchronous=True)
            due = time.monotonic() + errand.commit_ms / 1000


if __name__ == "__main__":
    echo(msgspec.json.decode(sys.argv[1], type=Errand))
