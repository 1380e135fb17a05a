"""One partition as a log, and the transactions that are in it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from streams.broker import Headers

OPEN, COMMITTED, ABORTED = range(3)


@dataclass(slots=True, eq=False)
class Transaction:
    """What becomes visible together, or never."""

    began_us: int
    state: int = OPEN
    logs: list[Log] = field(default_factory=list)
    """Where its marker is due."""
    positions: list[tuple[object, Callable[[], None]]] = field(default_factory=list)
    """The groups whose positions belong to it, and what commits them."""

    def decide(self, state: int) -> None:
        """Commit or abort it, everywhere at once."""
        self.state = state
        for log in self.logs:
            log.mark(self)


class Record(NamedTuple):
    """One record as a reader gets it."""

    offset: int
    stamp: int
    """When it was appended, microseconds UTC in whole milliseconds."""
    key: bytes | None
    value: bytes | None
    headers: Headers | None
    transaction: Transaction | None

    @property
    def visible(self) -> bool:
        """Whether a reader of committed records gets it."""
        return self.transaction is None or self.transaction.state == COMMITTED


class Log:
    """Records in the order they were appended; markers of transactions take offsets too.

    >>> log = Log()
    >>> transaction = Transaction(began_us=0)
    >>> log.append(5000, None, b"one", None, transaction)
    >>> log.append(5000, None, b"two", None)
    >>> log.stable, log.read(0)
    (0, [])
    >>> transaction.decide(COMMITTED)
    >>> log.stable, log.end, [record.value for record in log.read(0)]
    (3, 2, [b'one', b'two'])
    """

    def __init__(self) -> None:
        self.first = 0
        """The first offset that was not deleted."""
        self.next = 0
        """The offset that the next record or marker takes."""
        self._records: list[Record] = []
        self._offsets: list[int] = []
        self._undecided: dict[Transaction, int] = {}

    @property
    def stable(self) -> int:
        """The last stable offset: where the first undecided transaction begins, or the end."""
        return min(self._undecided.values(), default=self.next)

    @property
    def end(self) -> int:
        """The offset after the last record that a reader can see."""
        stop = bisect_left(self._offsets, self.stable)
        seen = (each.offset + 1 for each in reversed(self._records[:stop]) if each.visible)
        return next(seen, self.first)

    def append(
        self,
        stamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None,
        transaction: Transaction | None = None,
    ) -> None:
        """One more record."""
        if transaction is not None and transaction not in self._undecided:
            self._undecided[transaction] = self.next
            transaction.logs.append(self)
        self._records.append(Record(self.next, stamp, key, value, headers, transaction))
        self._offsets.append(self.next)
        self.next += 1

    def mark(self, transaction: Transaction) -> None:
        """Let a transaction's marker land here: it counts as decided from now on."""
        del self._undecided[transaction]
        self.next += 1

    def read(self, position: int, limit: int | None = None) -> list[Record]:
        """At most `limit` committed records from an offset on."""
        start, stop = (bisect_left(self._offsets, at) for at in (position, self.stable))
        return list(islice((each for each in self._records[start:stop] if each.visible), limit))

    def trim(self, first: int) -> None:
        """Delete the records before an offset, as retention does."""
        self.first = max(self.first, min(first, self.next))
        self._keep([each for each in self._records if each.offset >= first])

    def compact(self) -> None:
        """Keep the last record of each key, as compaction does; offsets stay and leave gaps."""
        stable = self.stable
        last = {r.key: r.offset for r in self._records if r.offset < stable and r.visible}
        kept = (r for r in self._records if r.offset >= stable or last.get(r.key) == r.offset)
        self._keep(list(kept))

    def _keep(self, records: list[Record]) -> None:
        self._records = records
        self._offsets = [record.offset for record in records]
