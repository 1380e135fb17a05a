"""Where a job goes on in its topics, and whether they are still those it was reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from streams.atomic import write_whole
from streams.broker import Broker, Input
from streams.errors import InputError, StateError

ORIGIN = "inputs.json"
_ADVICE = "begin with a new --state and a new --group, and what is there now is read from its start"


def topics_of(broker: Broker, inputs: Sequence[Input]) -> dict[str, str]:
    """The ids of the topics that are read."""
    return dict(broker.topic_ids(sorted({at.topic for at in inputs})))


def only(broker: Broker, topic: str) -> Input:
    """The one partition of a topic whose records have one order; InputError if it has more."""
    count = broker.partitions([topic])[topic]
    if count != 1:
        raise InputError(
            f"{topic}: wanted one partition, since its records have one order, got {count}; delete "
            "it and run headrace topics create"
        )
    return Input(topic, 0)


class Origin(msgspec.Struct, frozen=True):
    """What a state is made from: its inputs in their order, and the broker's ids of the topics."""

    inputs: tuple[Input, ...] = ()
    topics: dict[str, str] = {}

    @classmethod
    def of(cls, folder: Path) -> Origin:
        """What the state in this folder says of itself; nothing where there is none."""
        path = folder / ORIGIN
        return msgspec.json.decode(path.read_bytes(), type=cls) if path.exists() else cls()

    def keep(self, folder: Path, *, fsync: bool) -> None:
        """Let the state in this folder say so from now on."""
        write_whole(folder / ORIGIN, [msgspec.json.encode(self)], fsync=fsync)

    def check(self, topics: Mapping[str, str], folder: Path | str) -> None:
        """Raise StateError where one of the topics was made anew since."""
        for topic, known in self.topics.items():
            if topics.get(topic) != known:
                raise StateError(
                    f"{topic}: wanted the topic that the state in {folder} was made from, got "
                    f"another of its name: it was made anew; {_ADVICE}"
                )


def placed(folder: Path, inputs: Sequence[Input]) -> list[Input]:
    """The inputs in the order in which the state in this folder has come to know them.

    So the place of each stays what it was when partitions are added: the journal and what waits to
    be sorted speak of inputs by their places. Raises StateError where it knows others than these.
    """
    known = Origin.of(folder).inputs
    for each in known:
        if each not in inputs:
            raise StateError(
                f"{folder}: wanted {each.topic}/{each.partition}, which the state there was made "
                f"from, got {', '.join(sorted({at.topic for at in inputs}))}; give the --prefix "
                f"of that topic, or {_ADVICE}"
            )
    return [*known, *(each for each in inputs if each not in known)]


def kept(
    topics: Mapping[str, str], inputs: Sequence[Input], positions: Sequence[int]
) -> dict[str, Any]:
    """What a snapshot keeps of how far the inputs were read, and of which topics they are."""
    rows = [[*at, position] for at, position in zip(inputs, positions, strict=True)]
    return {"positions": rows, "topics": dict(topics)}


def resumed(
    meta: Mapping[str, Any],
    topics: Mapping[str, str],
    inputs: Sequence[Input],
    bounds: Sequence[tuple[int, int]],
    folder: Path | str,
) -> list[int]:
    """The offsets to go on at: those of the snapshot, or the first there are.

    Raises StateError where a topic was made anew or no longer holds what comes next.
    """
    Origin(topics=meta.get("topics", {})).check(topics, folder)
    offsets = {Input(*at): position for *at, position in meta.get("positions", ())}
    positions = [offsets.get(at, first) for at, (first, _) in zip(inputs, bounds, strict=True)]
    for at, position, (first, end) in zip(inputs, positions, bounds, strict=True):
        if not first <= position <= end:
            raise StateError(
                f"{at.topic}/{at.partition}: wanted to go on at offset {position}, where the state "
                f"in {folder} ends, got a partition that holds {first} to {end}: what lies between "
                f"was deleted; {_ADVICE}"
            )
    return positions
