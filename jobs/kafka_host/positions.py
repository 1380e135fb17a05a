"""Where a job goes on in its topics, and whether they are still those it was reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from streams.broker import Broker, Input
from streams.errors import InputError, StateError

PLACES = "inputs.json"
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


def placed(folder: Path, inputs: Sequence[Input]) -> list[Input]:
    """The inputs in the order in which the state in this folder has come to know them.

    So the place of each stays what it was when partitions are added: the journal and what waits to
    be sorted speak of inputs by their places. Raises StateError where it knows others than these.
    """
    path = folder / PLACES
    known = (
        [Input(*each) for each in msgspec.json.decode(path.read_bytes())] if path.exists() else []
    )
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
    folder: Path,
) -> list[int]:
    """The offsets to go on at: those of the snapshot, or the first there are.

    Raises StateError where a topic was made anew or no longer holds what comes next.
    """
    for topic, known in meta.get("topics", topics).items():
        if topics.get(topic) != known:
            raise StateError(
                f"{topic}: wanted the topic that the state in {folder} was made from, got another "
                f"of its name: it was made anew; {_ADVICE}"
            )
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
