"""Messages as runs of records, and how far each input has been read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from streams.broker import NEVER, Input, Run
from streams.kafka.library import Error
from streams.kafka.reader import Messages


class Records:
    """What was read of some inputs. `failed` is told of a message that is an error, and its topic.

    `topic_of` says what the library's name of a topic stands for. That an input is read to its end
    is known in two ways: the record before the end has come, or librdkafka says so, which it must
    where the last offset is that of a transaction's mark.
    """

    def __init__(
        self,
        inputs: Sequence[Input],
        topic_of: Callable[[int], str],
        failed: Callable[[Any, str], None],
    ) -> None:
        self.next = [NEVER] * len(inputs)
        """The offset after the last record of each that was handed out, or where to begin."""
        self._high = [NEVER] * len(inputs)
        self._at_end = [False] * len(inputs)
        self._places = {each: place for place, each in enumerate(inputs)}
        self._topic_of, self._failed = topic_of, failed
        self._known: dict[tuple[int, int], int] = {}
        """The places of inputs by what messages say of them."""

    def restart(self, positions: Sequence[int]) -> None:
        """Begin, or go on, at these offsets."""
        self.next = list(positions)
        self._at_end = [False] * len(positions)

    def reassigned(self) -> None:
        """The library may give its names of topics to others from now on."""
        self._known.clear()

    def reach(self, place: int, high: int) -> None:
        """The broker has said that an input's offsets go up to `high`."""
        self._high[place] = max(self._high[place], high)

    def open_ended(self) -> list[int]:
        """The inputs of which it is not known that they are read to their end."""
        return [place for place, at_end in enumerate(self._at_end) if not at_end]

    def ends(self) -> list[int]:
        """The offset after the last readable record of each, as far as is known."""
        return [
            position if at_end else max(position, high)
            for position, high, at_end in zip(self.next, self._high, self._at_end, strict=True)
        ]

    def runs(self, messages: Messages) -> list[Run]:
        """The records among messages, input by input as they came."""
        ended: set[int] = set()
        if messages.errors:
            messages, ended = self._heeded(messages)
        runs = []
        for place, part in self._split(messages):
            run = Run(place, part.offsets, part.stamps, part.keys, part.values, part.headers)
            self.next[place] = run.next
            self._at_end[place] = False
            runs.append(run)
        for place in ended:
            self._at_end[place] = True
        return runs

    def _split(self, messages: Messages) -> Iterator[tuple[int, Messages]]:
        """Cut messages where the input changes."""
        sources, n = messages.sources, len(messages)
        if not n:
            return
        if messages.sole or (sources == sources[0]).all():
            yield self._place(*sources[0].tolist()), messages
            return
        changes = np.flatnonzero((sources[1:] != sources[:-1]).any(axis=1)) + 1
        bounds = [0, *changes.tolist(), n]
        for start, stop in pairwise(bounds):
            yield self._place(*sources[start].tolist()), messages.rows(slice(start, stop))

    def _place(self, topic: int, partition: int) -> int:
        known = self._known.get((topic, partition))
        if known is None:
            known = self._places[Input(self._topic_of(topic), partition)]
            self._known[topic, partition] = known
        return known

    def _heeded(self, messages: Messages) -> tuple[Messages, set[int]]:
        """Set aside what are no records; also the inputs after whose end nothing came."""
        sources, ends = messages.sources.tolist(), dict[int, int]()
        for row, error in messages.errors.items():
            topic, partition = sources[row]
            if error.code() == Error._PARTITION_EOF:
                ends[self._place(topic, partition)] = row
            else:
                self._failed(error, self._topic_of(topic))
        good = np.delete(np.arange(len(sources)), list(messages.errors))
        last = {self._place(*sources[row]): row for row in good.tolist()} if ends else {}
        ended = {place for place, row in ends.items() if last.get(place, -1) < row}
        return messages.rows(good), ended
