"""What must hold when a schedule has come to its end, from the topics and the journal alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.proofs.proof import BrokenError, Record
from benchmarks.proofs.simulated import twin
from benchmarks.proofs.simulated.small import pipeline
from benchmarks.proofs.simulated.traffic import LAST
from jobs.config import Settings
from jobs.kafka_host.model_feed import MANIFEST
from jobs.lessons import CAUSES
from jobs.promotion.catalogue import Catalogue
from jobs.promotion.places import TopicPlace
from models.manifest import Seal, content_hash
from operators.drift.response import told_of
from streams.broker import Input
from streams.journal import Entry
from streams.memory import Cluster, MemoryBroker
from streams.records import Example, Outcomes, Prediction
from streams.topics import (
    DEAD_LETTERS,
    DRIFT,
    EXAMPLES,
    LABELS,
    MODELS,
    OUTCOMES,
    PREDICTIONS,
    TRANSACTIONS,
)

ODD = ((b"odd", b"{}"), (b"900/manifest", b"{}"), (None, None))
"""Keys and values that somebody writes to `models` though they are no version."""


def check(
    cluster: Cluster,
    settings: Settings,
    entries: Sequence[Entry],
    folder: Path,
    *,
    filled: bool,
    inputs: Sequence[Input] = (),
) -> Record:
    """Compare with the twins and balance the ledger; BrokenError with what is not as it should be.

    `filled`: the topics were full before the first job began, so that strict order sorts them.
    `inputs`: in the order in which the journal knows them, where that is not simply theirs.
    """
    strict = settings.order == "strict"
    rows = distinct(cluster, settings, PREDICTIONS, lambda _, value: _prediction(value).number)
    predictions = [_prediction(value) for _, value, _ in rows]
    told = twin.outcomes_of(cluster.read(OUTCOMES))
    versions, alarms = twin.learner(folder / "learner", predictions, told)
    topics = (TRANSACTIONS, LABELS)
    inputs = inputs or [Input(t, p) for t in topics for p in range(len(cluster.logs(t)))]
    said = twin.scorer(folder / "scorer", cluster, inputs, entries, versions, strict=strict)
    same("predictions", said.predictions, rows)
    same("outcomes", _flat(said.told), _flat(told))
    letters = _letters(cluster, settings)
    bare = _bare if strict else sorted
    same("dead letters", bare(said.letters), bare(letters))
    _balances(cluster, said, letters)
    _nothing_from_later(predictions, told, versions)
    _examples(distinct(cluster, settings, EXAMPLES, _example), predictions, told)
    _published(cluster, settings, versions)
    raised = distinct(cluster, settings, DRIFT, lambda _, value: told_of(value).number)
    same("alarms", alarms, [told_of(value) for _, value, _ in raised])
    if strict and filled:
        features = [(each.id, each.features) for each in predictions]
        same("features of the sorted stream", twin.in_time(folder / "sorted", said), features)
    if not strict:
        _right_one_scores(cluster, settings, predictions, versions)
    return {
        "predictions": len(rows),
        "repeats": len(cluster.read(PREDICTIONS)) - len(rows),
        "letters": len(letters),
        "versions": len(versions) - 1,
        "alarms": len(alarms),
        "decisions": len(_catalogue(cluster, settings).decisions.log),
    }


def _catalogue(cluster: Cluster, settings: Settings) -> Catalogue:
    return TopicPlace(MemoryBroker(cluster), settings, pipeline).read()


def same(what: str, wanted: Sequence[Any], found: Sequence[Any]) -> None:
    """Refuse the first difference."""
    for place, (ours, theirs) in enumerate(zip(wanted, found, strict=False)):
        if ours != theirs:
            raise BrokenError(f"{what}, place {place}:\n  wanted {ours}\n  found  {theirs}")
    if len(wanted) != len(found):
        longer = wanted if len(wanted) > len(found) else found
        rest = longer[min(len(wanted), len(found))]
        raise BrokenError(f"{what}: wanted {len(wanted)}, found {len(found)}: {rest}")


def distinct(
    cluster: Cluster,
    settings: Settings,
    topic: str,
    of: Callable[[bytes, bytes], Any],
    but: bytes | None = None,
) -> twin.Rows:
    """The records of a topic by what they speak of; again they may be there only with equal bytes.

    And not at all when each is to be there exactly once, but for keys that begin with `but`.
    """
    rows = [(r.key or b"", r.value or b"", r.headers) for r in cluster.read(topic)]
    rows.sort(key=lambda row: of(row[0], row[1]))
    kept: twin.Rows = []
    for name, group in groupby(rows, lambda row: of(row[0], row[1])):
        first, *others = group
        often = but is not None and first[0].startswith(but)
        if others and not often and settings.delivery == "exactly-once":
            raise BrokenError(f"{topic}: {name} is there {1 + len(others)} times, wanted once")
        same(f"{topic}: {name} again", [first] * len(others), others)
        kept.append(first)
    return kept


def _letters(cluster: Cluster, settings: Settings) -> twin.Rows:
    """Those about events and labels, each once if so wanted; about versions, each at least once."""
    rows = distinct(cluster, settings, DEAD_LETTERS, lambda key, _: key, but=f"{MODELS}/".encode())
    about = {key for key, _, _ in rows if key.startswith(f"{MODELS}/".encode())}
    for record in cluster.read(MODELS):
        key = f"{MODELS}/0/{record.offset}".encode()
        if ((record.key, record.value) in ODD) != (key in about):
            raise BrokenError(f"dead letters: {key!r} is about {record}")
    return [row for row in rows if row[0] not in about]


def _bare(letters: twin.Rows) -> list[tuple[bytes, dict[str, Any]]]:
    """Without the bytes of what conflicted: they are not kept of a record that waits its turn."""
    decoded = sorted((key, msgspec.json.decode(value)) for key, value, _ in letters)
    return [(key, letter | {"raw": ""}) for key, letter in decoded]


def _prediction(value: bytes) -> Prediction:
    return msgspec.json.decode(value, type=Prediction)


def _flat(told: Sequence[Outcomes]) -> list[tuple[int, int, int, int]]:
    """What became known, row by row: how it is cut into messages depends on the batches."""
    columns = (zip(t.numbers, t.values, t.known, t.causes, strict=True) for t in told)
    return [row for rows in columns for row in rows]


def _balances(cluster: Cluster, said: twin.Scored, letters: twin.Rows) -> None:
    """Everything that came in is somewhere."""
    dead = [msgspec.json.decode(value)["topic"] for _, value, _ in letters]
    counts = said.counts
    there = len(said.predictions) + counts["duplicates"] + dead.count(TRANSACTIONS) + said.held
    taken = len(cluster.read(TRANSACTIONS))
    if taken != there:
        raise BrokenError(f"ledger: {taken} transactions, {there} accounted for: {counts}")
    of_labels = sum(n for name, n in counts.items() if name.startswith("labels_"))
    taken = len(cluster.read(LABELS))
    if taken != of_labels + dead.count(LABELS) + said.held_labels:
        raise BrokenError(f"ledger: {taken} labels, {of_labels} accounted for: {counts}")


def _nothing_from_later(
    predictions: Sequence[Prediction], told: Sequence[Outcomes], versions: dict[int, twin.Learnt]
) -> None:
    """No version scored what was scored before that version could be learnt."""
    for each in predictions:
        if versions[each.model_version].after > each.number:
            raise BrokenError(f"{each.id}: scored by version {each.model_version} of later labels")
    for each_told in told:
        if max(each_told.known, default=0) > each_told.clock:
            raise BrokenError(f"outcomes: told at {each_told.clock} what becomes known later")
        if max(each_told.numbers, default=-1) >= each_told.next:
            raise BrokenError(f"outcomes: told of a prediction after {each_told.next}")


def _example(_: bytes, value: bytes) -> tuple[int, int, str]:
    example = msgspec.json.decode(value, type=Example)
    return example.number, example.known, example.cause


def _examples(rows: twin.Rows, predictions: Sequence[Prediction], told: Sequence[Outcomes]) -> None:
    """Every outcome became an example: the prediction as it was logged, and its label."""
    wanted = []
    for number, value, known, cause in sorted(_flat(told)):
        said = predictions[number]
        label = Example(
            number,
            said.time,
            known,
            value,
            CAUSES[cause],
            said.score,
            said.model_version,
            said.features,
        )
        wanted.append(label)
    found = [msgspec.json.decode(value, type=Example) for _, value, _ in rows]
    same("examples", sorted(wanted, key=_place), sorted(found, key=_place))


def _place(example: Example) -> tuple[int, int, str]:
    return example.number, example.known, example.cause


def _published(cluster: Cluster, settings: Settings, versions: dict[int, twin.Learnt]) -> None:
    """What `models` holds is what was learnt, no number has two contents, the newest is whole."""
    seal = Seal()
    held: dict[str, bytes] = {}
    for record in cluster.read(MODELS):
        key = (record.key or b"").decode()
        if record.value is None or (record.key, record.value) in ODD:
            held.pop(key, None)
        elif key in held and (settings.delivery == "exactly-once" or held[key] != record.value):
            raise BrokenError(f"models: {key} is there twice")
        else:
            held[key] = record.value
    manifests = {
        int(key.split("/")[0]): seal.manifest(value, key)
        for key, value in held.items()
        if key.endswith(MANIFEST)
    }
    for sequence, manifest in manifests.items():
        learnt = versions[sequence]
        if manifest.content != content_hash(learnt.version) or manifest.examples != learnt.examples:
            raise BrokenError(f"models: version {sequence} is not what was learnt as that")
    newest = max(versions)
    if newest and newest != max(manifests, default=0):
        raise BrokenError(f"models: wanted version {newest}, the newest of {sorted(manifests)}")
    if newest:
        chunks = sorted(key for key in held if key.startswith(f"{newest}/") and MANIFEST not in key)
        seal.version(manifests[newest], b"".join(held[key] for key in chunks), f"version {newest}")


def _right_one_scores(
    cluster: Cluster,
    settings: Settings,
    predictions: Sequence[Prediction],
    versions: dict[int, twin.Learnt],
) -> None:
    """The transaction published when all was quiet was scored by what was decided.

    That is the newest version of a model, or one that was gone back to, if it was still there.
    """
    (last,) = (each for each in predictions if each.id == LAST)
    there = _catalogue(cluster, settings)
    wanted = there.decisions.held
    if wanted is None:
        place = there.contenders.index(there.decisions.model)
        mine = (v for v in versions if v == 0 or v % len(there.contenders) == place)
        wanted = max(v for v in mine if versions[v].after <= last.number)
    elif wanted not in there.kept:
        return
    if last.model_version != wanted:
        raise BrokenError(f"version {last.model_version} scores, wanted {wanted}")
