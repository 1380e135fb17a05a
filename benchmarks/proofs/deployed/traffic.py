"""What is published in a round: the simulation's transactions and labels, without an end."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count
from random import Random

from benchmarks.proofs.simulated.traffic import BEGAN, HOUR, Sent, about
from streams.schema import SECOND

GAP = 10 * SECOND
"""Event time from one transaction to the next."""
EARLY = 8 * HOUR
"""How long before its transaction a label may be sent."""
CUSTOMERS = [f"c{number}" for number in range(200)]
TERMINALS = [f"m{number}" for number in range(100)]


def endless(rng: Random, *, late: bool) -> Iterator[Sent]:
    """Records in the order in which they are published; `late`: beyond the lateness too.

    >>> first = endless(Random(0), late=False)
    >>> times = [next(first).at for _ in range(100)]
    >>> times == sorted(times)
    True
    """
    waiting: list[tuple[int, int, Sent]] = []
    serial = count()
    for number in count():
        time = BEGAN + number * GAP + rng.randrange(GAP // SECOND) * SECOND
        for sent in about(rng, number, time, CUSTOMERS, TERMINALS, late=late):
            heappush(waiting, (sent.at, next(serial), sent))
        while waiting and waiting[0][0] < BEGAN + number * GAP - EARLY:
            yield heappop(waiting)[2]
