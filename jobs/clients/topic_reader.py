"""A topic as one reads it who is no part of a job: every partition, from any place, no group."""

from __future__ import annotations

from collections.abc import Iterator

from streams.broker import Broker, Input, Run
from streams.closing import Closing

MANY = 10_000
WAIT_S = 0.25


class TopicReader(Closing):
    """Stands at the topic's beginning. `partitions` alone are read if they are named.

    Raises InputError if the topic does not exist.
    """

    def __init__(self, broker: Broker, topic: str, partitions: list[int] | None = None) -> None:
        count = broker.partitions([topic])[topic]
        self.topic = topic
        self.inputs = [Input(topic, each) for each in partitions or range(count)]
        self._consumer = broker.consumer(self.inputs)
        self.bounds = self._consumer.bounds()
        """First offset and the offset after the last of each partition, when last looked at."""
        self._next = [first for first, _ in self.bounds]
        self.seek(self._next)

    def seek(self, offsets: list[int]) -> None:
        """Go on at these offsets, one a partition; what lies outside of the bounds is cut off."""
        pairs = zip(offsets, self.bounds, strict=True)
        self._next = [min(max(offset, first), end) for offset, (first, end) in pairs]
        self._consumer.seek(self._next)

    def seek_end(self) -> None:
        """Go on with what is appended from now on."""
        self.seek([end for _, end in self.bounds])

    def seek_last(self, count: int) -> None:
        """Go on at the last `count` records of every partition."""
        self.seek([end - count for _, end in self.bounds])

    def seek_stamp(self, stamp_us: int) -> None:
        """Go on with what the broker appended at that time or later, microseconds UTC."""
        low, high = ([bound[side] for bound in self.bounds] for side in (0, 1))
        for place in range(len(self.inputs)):
            self._consumer.pause([each for each in range(len(self.inputs)) if each != place])
            while low[place] < high[place]:
                middle = (low[place] + high[place]) // 2
                found = self._first_after(place, middle)
                if found is None or found[1] >= stamp_us:
                    high[place] = middle
                else:
                    low[place] = found[0] + 1
        self._consumer.pause([])
        self.seek(low)

    def _first_after(self, place: int, offset: int) -> tuple[int, int] | None:
        """Offset and stamp of the first record from that offset on."""
        self.seek([offset if each == place else end for each, (_, end) in enumerate(self.bounds)])
        for run in self.to_end(1):
            return int(run.offsets[0]), int(run.stamps[0])
        return None

    def look_again(self) -> None:
        """Let `to_end` go to where the end is now."""
        self.bounds = self._consumer.bounds()

    def take(self, timeout: float = WAIT_S, limit: int = MANY) -> list[Run]:
        """What there is, waiting so long for the first."""
        runs = self._consumer.poll(limit, timeout)
        for run in runs:
            self._next[run.input] = run.next
        return runs

    def to_end(self, limit: int = MANY) -> Iterator[Run]:
        """What was there when last looked at, and maybe some of what came since."""
        while not self._ended(heard=False):
            runs = self.take(limit=limit)
            yield from runs
            if not runs and self._ended(heard=True):
                break

    def _ended(self, *, heard: bool) -> bool:
        """Whether all is read; the last offsets may be a transaction's marks, if so we `heard`."""
        ends = self._consumer.ends() if heard else [end for _, end in self.bounds]
        bounds = zip(self._next, self.bounds, ends, strict=True)
        return all(at >= min(known, end) for at, (_, known), end in bounds)

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()
