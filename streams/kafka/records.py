"""Messages as columns, at the least cost a record, and how far each input has been read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from streams.broker import NEVER, Input, Run
from streams.kafka.library import Error, Message


class Records:
    """What was read of some inputs. `failed` is told of a message that is an error, and its topic.

    That an input is read to its end is known in two ways: the record before the end has come, or
    librdkafka says so, which it must where the last offset is that of a transaction's mark.
    """

    def __init__(self, inputs: Sequence[Input], failed: Callable[[Any, str], None]) -> None:
        self.next = [NEVER] * len(inputs)
        """The offset after the last record of each that was handed out, or where to begin."""
        self._high = [NEVER] * len(inputs)
        self._at_end = [False] * len(inputs)
        self._place_of, self._key_of = _lookup(inputs)
        self._failed = failed

    def restart(self, positions: Sequence[int]) -> None:
        """Begin, or go on, at these offsets."""
        self.next = list(positions)
        self._at_end = [False] * len(positions)

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

    def runs(self, messages: list[Any]) -> list[Run]:
        """The records among messages, input by input as they came."""
        errors = list(map(Message.error, messages))
        ended: set[int] = set()
        if any(errors):
            messages, ended = self._heeded(messages, errors)
        runs = []
        for place, part in self._split(messages):
            run = Run(
                place,
                _offsets(part),
                [stamp * 1000 for _, stamp in map(Message.timestamp, part)],
                list(map(Message.key, part)),
                list(map(Message.value, part)),
                list(map(Message.headers, part)),
            )
            self.next[place] = run.offsets[-1] + 1
            self._at_end[place] = False
            runs.append(run)
        for place in ended:
            self._at_end[place] = True
        return runs

    def _split(self, messages: list[Any]) -> Iterator[tuple[int, list[Any]]]:
        """Cut messages where the input changes."""
        if not messages:
            return
        if len(self.next) == 1:
            yield 0, messages
            return
        places = list(map(self._place_of.__getitem__, map(self._key_of, messages)))
        if places.count(places[0]) == len(places):
            yield places[0], messages
            return
        start = 0
        for place, group in groupby(places):
            stop = start + len(list(group))
            yield place, messages[start:stop]
            start = stop

    def _heeded(self, messages: list[Any], errors: list[Any]) -> tuple[list[Any], set[int]]:
        """Set aside what are no records; also the inputs after whose end nothing came."""
        ended: set[int] = set()
        records = []
        for message, error in zip(messages, errors, strict=True):
            if error is None:
                records.append(message)
                ended.discard(self._place_of[self._key_of(message)])
            elif error.code() == Error._PARTITION_EOF:
                ended.add(self._place_of[self._key_of(message)])
            else:
                self._failed(error, message.topic() or "")
        return records, ended


def _offsets(messages: list[Any]) -> list[int]:
    first, last = messages[0].offset(), messages[-1].offset()
    if last - first == len(messages) - 1:
        return list(range(first, last + 1))
    return list(map(Message.offset, messages))


def _lookup(inputs: Sequence[Input]) -> tuple[dict[Any, int], Callable[[Any], Any]]:
    """How to tell a message's input: its place by a key, and the cheapest key there is."""
    topics = {each.topic for each in inputs}
    if len(topics) == len(inputs):
        return {each.topic: place for place, each in enumerate(inputs)}, Message.topic
    if len(topics) == 1:
        return {each.partition: place for place, each in enumerate(inputs)}, Message.partition
    return (
        {tuple(each): place for place, each in enumerate(inputs)},
        lambda message: (message.topic(), message.partition()),
    )
