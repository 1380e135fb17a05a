"""What an undisturbed run says: the whole flow again, in one go, over the order that was taken.

The learner's twin reads the topics `predictions` and `outcomes` and makes the versions. That of the
scorer takes records in the order of the journal, with the versions it names, and makes the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.proofs.proof import BrokenError
from benchmarks.proofs.simulated.small import pipeline
from jobs.held import Held
from jobs.learning import Learning
from jobs.scoring import Scoring
from jobs.topic_records import (
    Kept,
    TopicDecoder,
    headers_for,
    keep_headers,
    letter_records,
    parted,
    prediction_records,
    with_records,
)
from models.base import Version
from models.manifest import content_hash
from operators.admission import COUNTS
from operators.drift.response import Told
from streams.batch import EVENT, LABEL, Batch
from streams.broker import Headers, Input
from streams.ident import ident
from streams.journal import Entry
from streams.memory import Cluster, Record
from streams.merge import Taken
from streams.order import Sorter, in_order
from streams.payloads import Payloads
from streams.records import Outcomes, Prediction
from streams.schema import duration_us
from streams.topics import TRANSACTIONS

Rows = list[tuple[bytes, bytes, Headers | None]]
"""Keys, values and headers of records."""


@dataclass(slots=True)
class Learnt:
    """A version of the learner's twin."""

    version: Version
    examples: int
    after: int
    """How many predictions there were when what it learnt last was told: none of them used it."""


def learner(
    folder: Path, predictions: Sequence[Prediction], told: Sequence[Outcomes]
) -> tuple[dict[int, Learnt], list[Told]]:
    """Versions by number, version 0 among them, and alarms; predictions by their numbers."""
    learning, alarms = Learning(pipeline, folder), []
    versions = {0: Learnt(learning.lineup.champion, 0, 0)}
    if predictions:
        learning.hold(_held(predictions))
    for each in told:
        learnt = learning.learn(each)
        alarms += learnt.drift
        for made in learnt.versions:
            versions[made.number] = Learnt(made.version, made.examples, each.next)
    learning.close()
    return versions, alarms


def _held(predictions: Sequence[Prediction]) -> Held:
    words = [[ident(p.id)[1], p.time, 0, p.model_version] for p in predictions]
    features = [[np.nan if x is None else x for x in p.features] for p in predictions]
    return Held(
        np.array([p.number for p in predictions]),
        np.array(words, np.int64),
        np.array([p.score for p in predictions]),
        np.array(features, np.float64),
    )


@dataclass(slots=True)
class Scored:
    """What the scorer's twin says, and what it counted."""

    predictions: Rows = field(default_factory=list)
    letters: Rows = field(default_factory=list)
    told: list[Outcomes] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    held: int = 0
    held_labels: int = 0
    """Events and labels that wait to be sorted."""
    batches: list[Batch] = field(default_factory=list)


def scorer(
    folder: Path,
    cluster: Cluster,
    inputs: Sequence[Input],
    entries: Sequence[Entry],
    versions: Mapping[int, Learnt],
    *,
    strict: bool,
) -> Scored:
    """Carry what the entries took through, all that one version scored at once."""
    said, scoring = Scored(), Scoring(pipeline, folder)
    decoder = TopicDecoder(
        pipeline.event, inputs, [EVENT if at.topic == TRANSACTIONS else LABEL for at in inputs]
    )
    sorter = Sorter(duration_us(pipeline.lateness)) if strict else None
    kept: Kept = {}
    left = [iter(cluster.logs(at.topic)[at.partition].read(0)) for at in inputs]
    for (number, digest), group in groupby(entries, lambda each: (each.version, each.digest)):
        if number not in versions:
            raise BrokenError(f"version {number} scored, which nobody learnt")
        version = versions[number].version
        if content_hash(version) != digest.hex():
            raise BrokenError(f"what scored as version {number} is not what was learnt as that")
        scoring.serve(number, version)
        taken = _taken(left, np.concatenate([each.ranges for each in group]))
        batch, letters = decoder.decode(taken)
        keep_headers(taken, batch, kept)
        said.batches.append(batch)
        if sorter:
            batch, taken = parted(sorter.push(with_records(batch, taken))[0])
        scored, told = scoring.process(batch)
        letters += [decoder.conflict(taken, letter) for letter in scored.letters]
        none: list[Headers | None] = [None] * len(scored)
        headers = headers_for(batch, scored, kept) or none
        keys, values = prediction_records(batch, scored, scoring.names, scoring.inputs)
        said.predictions += zip(keys.full(), values.full(), headers, strict=True)
        said.letters += [(*each, None) for each in zip(*letter_records(letters), strict=True)]
        said.told += [msgspec.json.decode(each.record(), type=Outcomes) for each in told]
    said.counts = dict(zip(COUNTS, scoring.counts.tolist(), strict=True))
    held = sorter.flush() if sorter else None
    if held is not None:
        said.held_labels = int(np.count_nonzero(held.kind == LABEL))
        said.held = len(held) - said.held_labels
    for at, rest in zip(inputs, left, strict=True):
        if records := list(rest):
            raise BrokenError(f"{at}: {len(records)} records were never taken")
    scoring.close()
    return said


def _taken(
    left: Sequence[Iterator[Record]], ranges: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> Taken:
    """The next records of each input as these ranges say, which must be those that are next."""
    places: list[int] = []
    records: list[Record] = []
    for place, first, last, count in ranges.tolist():
        cut = list(islice(left[place], count))
        offsets = [record.offset for record in cut]
        if not offsets or (offsets[0], offsets[-1], len(offsets)) != (first, last, count):
            raise BrokenError(
                f"input {place}: wanted {count} records from {first} to {last} to be next, got "
                f"{offsets}"
            )
        places += [place] * count
        records += cut
    return Taken(
        np.array(places, np.int64),
        np.array([record.offset for record in records], np.int64),
        np.array([record.stamp for record in records], np.int64),
        Payloads.of([record.value for record in records]),
        [record.headers for record in records],
    )


def in_time(folder: Path, said: Scored) -> list[tuple[str, tuple[float | None, ...]]]:
    """Ids and features of the predictions, had the events come sorted by their time."""
    whole = Batch.concat(said.batches)
    batch = whole.take(in_order(whole))
    scoring = Scoring(pipeline, folder)
    scored, _ = scoring.process(batch)
    scoring.close()
    values = prediction_records(batch, scored, scoring.names)[1].full()[: len(said.predictions)]
    decoded = (msgspec.json.decode(value, type=Prediction) for value in values)
    return [(each.id, each.features) for each in decoded]


def outcomes_of(records: Sequence[Record]) -> list[Outcomes]:
    """What a topic tells of outcomes, without what it tells again."""
    told: list[Outcomes] = []
    seen: set[bytes] = set()
    for record in records:
        value = record.value or b""
        if value not in seen:
            seen.add(value)
            told.append(msgspec.json.decode(value, type=Outcomes))
    return told
