"""The dead letters of a deployment: found, shown with what they were, sent again once.

That a letter was sent again is noted where the letters are: a record with its key and no value.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import orjson

from jobs.clients.topic_reader import TopicReader
from streams.broker import Broker, Headers, Producer
from streams.errors import InputError, OutputError, Reason

REPLAYED = "headrace-replayed-from"
"""The header of a record sent again: the place of the first."""
LEAP = 20_000
"""Records that are read past rather than sought past."""
PIECE = 1000
"""Letters that are sent, then noted, at a time."""
ANSWER_S = 30.0


class Place(NamedTuple):
    """Where a record was; written topic/partition/offset."""

    topic: str
    partition: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read what `str` writes; InputError for anything else.

        >>> str(Place.parse("labels/0/17"))
        'labels/0/17'
        """
        topic, *numbers = text.rsplit("/", 2)
        if not topic or len(numbers) != 2 or not all(map(str.isdecimal, numbers)):
            raise InputError(f"wanted topic/partition/offset, as in labels/0/17; got {text!r}")
        return cls(topic, *map(int, numbers))

    def __str__(self) -> str:
        return "/".join(map(str, self))


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, without the bytes."""

    place: Place
    reason: str
    detail: str
    time_us: int
    at: tuple[int, int]
    """Partition and offset of the letter itself."""
    replayed: bool = False


class Original(NamedTuple):
    """The record that a letter is about, as its topic still holds it."""

    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of the letters that were to be sent again."""

    sent: int
    before: int
    """Sent again earlier, and so left alone."""
    gone: int
    """Neither their topic nor the letter has all of their bytes."""


def find(broker: Broker, topic: str) -> list[Letter]:
    """The letters of the topic, the oldest first, each place once."""
    found: dict[bytes, Letter] = {}
    with TopicReader(broker, topic) as reader:
        for run in reader.to_end():
            partition = reader.inputs[run.input].partition
            for offset, key, value in zip(run.offsets.tolist(), run.keys, run.values, strict=True):
                if key and value:
                    found.setdefault(key, _letter(value, (partition, offset)))
                elif key in found:
                    found[key] = replace(found[key], replayed=True)
    return list(found.values())


def _letter(value: bytes, at: tuple[int, int]) -> Letter:
    fields = orjson.loads(value)
    place = Place(fields["topic"], fields["partition"], fields["offset"])
    return Letter(place, fields["reason"], fields["detail"], fields["time"], at)


def bytes_of(broker: Broker, topic: str, letter: Letter) -> bytes:
    """What the letter itself holds of the record; of one too large, its beginning."""
    partition, offset = letter.at
    found = _records(broker, topic, partition, [offset])
    fields = orjson.loads(found[offset].value or b"{}") if found else {}
    if "raw" in fields:
        return str(fields["raw"]).encode()
    return b64decode(fields.get("raw_base64", ""))


def originals(
    broker: Broker, letters: Sequence[Letter]
) -> Iterator[tuple[Letter, Original | None]]:
    """The record of each letter, None where its topic does not hold it any more."""
    groups: dict[tuple[str, int], list[Letter]] = {}
    for letter in letters:
        groups.setdefault(letter.place[:2], []).append(letter)
    for (topic, partition), members in groups.items():
        members.sort(key=lambda letter: letter.place.offset)
        for first in range(0, len(members), PIECE):
            piece = members[first : first + PIECE]
            held = _records(broker, topic, partition, [each.place.offset for each in piece])
            yield from ((each, held.get(each.place.offset)) for each in piece)


def _records(
    broker: Broker, topic: str, partition: int, offsets: Sequence[int]
) -> dict[int, Original]:
    """The records at these offsets, which ascend, as far as they are there."""
    wanted, found = frozenset(offsets), dict[int, Original]()
    with TopicReader(broker, topic, [partition]) as reader:
        at, end = reader.bounds[0]
        for offset in offsets:
            if not at <= offset < end:
                continue
            if offset - at > LEAP:
                reader.seek([offset])
            for run in reader.to_end():
                headers = run.each_headers()
                found |= {
                    each: Original(run.keys[place], run.values[place], headers[place] or ())
                    for place, each in enumerate(run.offsets.tolist())
                    if each in wanted
                }
                at = run.next
                if at > offset:
                    break
    return found


def replay(
    broker: Broker,
    topic: str,
    letters: Sequence[Letter],
    *,
    again: bool,
    watch: Callable[[int], None],
) -> Replay:
    """Send the records of these letters to their topics again, with key and headers.

    A record that was sent again before is left alone, unless `again`, and so is one that is itself
    such a repeat. Killed midway, up to PIECE records may be sent a second time by the next replay,
    which the score job counts as duplicates. Raises OutputError when the broker does not take them.
    """
    fresh = [each for each in letters if again or not each.replayed]
    sent, before, gone = 0, len(letters) - len(fresh), 0
    producer = broker.producer()
    try:
        for first in range(0, len(fresh), PIECE):
            ready: list[tuple[Letter, Original]] = []
            for letter, held in originals(broker, fresh[first : first + PIECE]):
                original = held or _kept(broker, topic, letter)
                if original is None:
                    gone += 1
                elif any(name == REPLAYED for name, _ in original.headers) and not again:
                    before += 1
                else:
                    ready.append((letter, original))
            _send(producer, topic, ready)
            sent += len(ready)
            watch(sent)
    finally:
        producer.close()
    return Replay(sent, before, gone)


def _kept(broker: Broker, topic: str, letter: Letter) -> Original | None:
    """The record as the letter holds it, if that is all of it; its key is lost."""
    value = bytes_of(broker, topic, letter)
    return Original(None, value, ()) if value and letter.reason != Reason.TOO_LARGE else None


def _send(producer: Producer, topic: str, ready: Sequence[tuple[Letter, Original]]) -> None:
    """Send the records, and once the broker has them, note it with the letters."""
    for letter, original in ready:
        mark = (REPLAYED, str(letter.place).encode())
        headers = [*(each for each in original.headers if each[0] != REPLAYED), mark]
        producer.send(letter.place.topic, [original.value], [original.key], [headers])
    _confirm(producer)
    if ready:
        keys = [str(letter.place).encode() for letter, _ in ready]
        producer.send(topic, [None] * len(keys), keys)
        _confirm(producer)


def _confirm(producer: Producer) -> None:
    if not producer.flush(ANSWER_S):
        raise OutputError(
            f"wanted the broker to take {producer.waiting:,} records, got no answer within "
            f"{ANSWER_S:.0f} s; try again when it is back"
        )
