"""What a host needs of a broker: two small interfaces, one to take records and one to hand them on.

`streams.kafka` fills them with a real Kafka, `streams.memory` with one inside the process that
keeps its semantics: offsets, transactions, redelivery. A host never sees a client library.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from streams.payloads import Payloads

Int64s = npt.NDArray[np.int64]
Headers = Sequence[tuple[str, bytes | None]]
NEVER = -1
"""A position that was never committed."""


class Input(NamedTuple):
    """One partition that is read."""

    topic: str
    partition: int


@dataclass(slots=True)
class Run:
    """n records of one input in its order. Offsets may leave gaps."""

    input: int
    """Its place among the consumer's `inputs`."""
    offsets: Int64s
    stamps: Int64s
    """When the broker appended each, microseconds UTC."""
    keys: Payloads
    values: Payloads
    headers: list[Headers | None] | None = None
    """None if none has any."""

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def next(self) -> int:
        """The offset after the last."""
        return int(self.offsets[-1]) + 1

    def each_headers(self) -> list[Headers | None]:
        """The headers of every record."""
        return [None] * len(self) if self.headers is None else self.headers


class Consumer(Protocol):
    """Reads its inputs; the one member of its group.

    Losing the broker is no error: `poll` returns nothing until it is back. Raises StateError when
    the group belongs to another, InputError when an input is gone or a position is no longer there.
    """

    inputs: tuple[Input, ...]

    @property
    def away(self) -> str:
        """Why the broker cannot be spoken to, as of the last `poll`; empty while it can."""

    def bounds(self) -> list[tuple[int, int]]:
        """First offset and the offset after the last of every input, asked of the broker."""

    def committed(self) -> list[int]:
        """What the group has committed of every input, NEVER where nothing; asked of the broker."""

    def seek(self, positions: Sequence[int]) -> None:
        """Begin, or go on, at these offsets: one for each input."""

    def poll(self, limit: int, timeout: float) -> list[Run]:
        """At most `limit` records that are there; waits up to `timeout` seconds for the first."""

    def ends(self) -> list[int]:
        """The offset after the last readable record of every input, as of the last answer."""

    def pause(self, inputs: Sequence[int]) -> None:
        """Take nothing of exactly these inputs until told otherwise."""

    def commit(self, positions: Sequence[int]) -> None:
        """Commit these positions for the group, without waiting."""

    def close(self) -> None:
        """Leave the group, once what was committed is."""


class Producer(Protocol):
    """Hands records on, in order, as often as it takes until the broker has them all.

    Losing the broker is no error: `waiting` grows. Raises OutputError for what can never be handed
    over (too large, topic gone), StateError when another instance has taken over.
    """

    @property
    def waiting(self) -> int:
        """Records sent that the broker has not acknowledged."""

    @property
    def acknowledged(self) -> int:
        """The largest n such that it has all of the first n records sent, as of the last `poll`."""

    def send(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Headers | None] | None = None,
    ) -> None:
        """Take over these records. The host bounds `waiting`; this never waits for long."""

    def poll(self, timeout: float = 0.0) -> None:
        """Hear of acknowledgements; waits up to `timeout` seconds for one if any is due."""

    def flush(self, timeout: float) -> bool:
        """Whether everything was acknowledged within `timeout` seconds."""

    def begin(self) -> None:
        """Begin a transaction. Only of a producer that was opened with an id for them."""

    def commit(
        self, consumer: Consumer, positions: Sequence[int], timeout: float = math.inf
    ) -> bool:
        """Make what was sent since `begin` visible, and the positions with it, or neither.

        False if that was not done within `timeout` seconds: it still may be, so the only calls that
        are left are the same again and `close`.
        """

    def close(self) -> None:
        """Let go; an open transaction is aborted, what was not acknowledged is dropped."""


class Broker(Protocol):
    """Opens consumers and producers of one cluster."""

    def partitions(self, topics: Sequence[str]) -> Mapping[str, int]:
        """How many partitions each has; InputError naming those that do not exist."""

    def topic_ids(self, topics: Sequence[str]) -> Mapping[str, str]:
        """The broker's id of each topic: another one than before means that it was made anew."""

    def consumer(
        self,
        inputs: Sequence[Input],
        group: str | None = None,
        owner: str = "",
        patience: float = 0.0,
    ) -> Consumer:
        """A consumer of these inputs that sees committed records only; with a group its one owner.

        Without a group nothing can be committed. Raises StateError when the group has an owner of
        another name. One of the same name counts as dead, and its place is taken: so a name, such
        as that of the state folder, is for the one who holds the folder's lock.

        With `patience` records may come so many seconds late, in fewer and larger answers.
        """

    def producer(
        self,
        transactional: str | None = None,
        patient: Collection[str] = (),
        beside: Consumer | None = None,
    ) -> Producer:
        """A producer; with an id for transactions, the one before it with that id is fenced.

        Nobody waits for what is sent to the topics in `patient`: it may take a little longer. What
        is sent to others is made of what the consumer `beside` it last handed out, if there is one:
        how long it may be held back counts from then, and that consumer is polled.
        """
