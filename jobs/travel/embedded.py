"""The state of `headrace run` made portable, and a portable state made one of `headrace run`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.kafka_host.positions import Origin
from jobs.kafka_host.takeover import NAME, Takeover
from jobs.numbering import Numbering
from jobs.scoring import Scoring
from jobs.state import ScoringState
from jobs.topic_records import beside, parted, sorter_state
from jobs.travel.portable import NEVER, About, Int64s, Portable
from models.manifest import Manifest
from models.registry import Registry
from operators.admission import COUNTS
from operators.keyrecords import set_clock, unpack
from streams.atomic import write_whole
from streams.broker import Input
from streams.errors import ConfigError, StateError
from streams.journal import Journal
from streams.order import in_order, parts_of, state_of
from streams.ownership import own
from streams.payloads import Payloads
from streams.schema import duration_us

FIRST_BATCH = 1
"""How many batches a state that was brought here has taken: there is one to go on from."""


def leave(folder: Path, pipeline: Pipeline) -> Portable:
    """The state of the score job that ended in `folder`, `settings.state / "score"`.

    Raises StateError where there is none, another process owns it, or the job was killed.
    """
    if not any(folder.glob("snapshots/*.snapshot")):
        raise StateError(
            f"{folder}: wanted the state of a score job, found none; name the --state of a "
            "`headrace run` that has come to its end"
        )
    with own(folder):
        scoring = Scoring(pipeline, folder)
        state = ScoringState(scoring, folder / "snapshots", fsync=False)
        try:
            found = state.restore()
            if found is None:
                raise StateError(f"{folder}: nothing was committed here yet; let the job go on")
            meta, blobs = found
            _refuse_unfinished(folder, int(meta["sequence"]))
            return _portable(scoring, folder, meta, blobs)
        finally:
            state.close()
            scoring.close()


def _refuse_unfinished(folder: Path, sequence: int) -> None:
    journal = Journal(folder / "journal")
    after = sum(1 for _ in journal.entries(sequence))
    journal.close()
    if after:
        raise StateError(
            f"{folder}: the score job was killed {after:,} batches after its last snapshot; start "
            "it again (`headrace run`), end it with Ctrl-C or SIGTERM, then export"
        )


def _portable(
    scoring: Scoring, folder: Path, meta: dict[str, Any], blobs: dict[str, bytes]
) -> Portable:
    index, numbering = scoring.index.state(), scoring.numbering
    first, stop = int(index["first_row"]), int(index["next_row"])
    numbered = numbering.place(stop)
    took_over = Takeover.load(folder)
    offsets = {Input(topic, partition): at for topic, partition, at in meta.get("positions", ())}
    # Rows that wait to be sorted name their input by its place among these.
    inputs = [(*at, offsets[at]) for at in Origin.of(folder).inputs if at in offsets]
    version, weights = _version(
        folder, int(meta.get("version", took_over.version if took_over else 0))
    )
    about = About(
        order="strict" if "order" in blobs else "arrival",
        inputs=inputs,
        topics=meta.get("topics", {}),
        seen_us=int(index["newest_us"]),
        clock_us=int(index["clock_us"]),
        newest_us=int(index["newest_us"]),
        from_us=took_over.from_us if took_over else 0,
        cursor=int(index["cursor"]) - first,
        counts=dict(zip(COUNTS, scoring.counts.tolist(), strict=True)),
        base=numbering.base + numbered,
        moved=numbering.moved + numbered,
        version=version,
    )
    held, values = None, Payloads.of([])
    if "order" in blobs:
        state = sorter_state(scoring.pipeline.event, blobs["order"])
        lateness, watermark, waiting = parts_of(state)
        if waiting is not None and len(waiting):
            held, values = parted(waiting)[0], parted(waiting)[1].values
        about.seen_us = watermark + lateness if watermark != NEVER else NEVER
    labels = np.asarray(index["labels"])
    return Portable(
        about=about,
        ids=scoring.ids.view[first:stop].copy(),
        numbers=numbering.of(np.arange(first, stop)),
        labels=np.column_stack([labels[:, 1] - first, labels[:, 0]]),
        waiting=_in_turn(np.asarray(index["waiting"]), np.asarray(index["queue"])),
        records={
            each.plan.key: np.concatenate(each.capture(whole=True).pieces())
            for each in scoring.features.entities
        },
        held=held,
        values=tuple(values.full()),
        weights=weights,
    )


def _version(folder: Path, sequence: int) -> tuple[Manifest | None, bytes]:
    """A version that the job has kept; none for the prior."""
    if not sequence:
        return None, b""
    registry = Registry(folder / "models")
    return registry.manifest(sequence), registry.weights(sequence)


def _in_turn(waiting: Int64s, queue: Int64s) -> Int64s:
    """Labels that wait, in the order in which they go when they have waited too long."""
    words = {(hi, lo): word for word, hi, lo in waiting.tolist()}
    turns = dict.fromkeys((hi, lo) for hi, lo in queue.tolist() if (hi, lo) in words)
    return np.array([(words[at], *at) for at in turns], np.int64).reshape(-1, 3)


def arrive(portable: Portable, settings: Settings, pipeline: Pipeline) -> None:
    """Make the folder of a score job of a portable state: whole, or not at all.

    Raises StateError where there is state already, ConfigError where the job wants another order.
    """
    about, folder = portable.about, settings.state / "score"
    refuse_order(portable, settings)
    if folder.exists() and any(folder.iterdir()):
        raise StateError(
            f"{folder}: wanted an empty folder to bring the state to, found state; name another "
            "--state"
        )
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    Numbering(base=about.base, moved=about.moved, brought=portable.numbers).keep(part)
    if about.version:
        Registry(part / "models").keep(about.version, portable.weights)
    if about.from_us:
        version = about.version.sequence if about.version else 0
        mind = Takeover(str(folder), about.from_us, version)
        write_whole(part / NAME, [msgspec.json.encode(mind)])
    Origin(tuple(portable.offsets), about.topics).keep(part, fsync=settings.fsync)
    _put(portable, pipeline, part, fsync=settings.fsync)
    if folder.exists():
        folder.rmdir()
    part.replace(folder)


def refuse_order(portable: Portable, settings: Settings) -> None:
    """Raise ConfigError where a job is to go on in another order."""
    if portable.about.order != settings.order:
        raise ConfigError(
            f"order: wanted {portable.about.order}, which this state was made in, got "
            f"{settings.order}: give --order {portable.about.order}"
        )


def _put(portable: Portable, pipeline: Pipeline, folder: Path, *, fsync: bool) -> None:
    """Write the state as the first snapshot of a score job in this folder."""
    about, count = portable.about, len(portable.ids)
    scoring = Scoring(pipeline, folder)
    state = ScoringState(scoring, folder / "snapshots", fsync=fsync)
    scoring.ids.reserve(count)
    scoring.ids.view[:count] = portable.ids
    places, words = portable.labels[:, 0], portable.labels[:, 1]
    scoring.index.restore(
        {
            "first_row": 0,
            "next_row": count,
            "cursor": about.cursor,
            "clock_us": about.clock_us,
            "newest_us": about.newest_us,
            "labels": np.column_stack([words, places, np.zeros_like(places)]),
            "waiting": portable.waiting,
            "queue": np.ascontiguousarray(portable.waiting[:, 1:]),
        }
    )
    scoring.counts[:] = [about.counts[name] for name in COUNTS]
    for entity in scoring.features.entities:
        unpack(entity.arena, entity.plan.shape, portable.records[entity.plan.key])
        set_clock(entity.arena, about.newest_us)
    scoring.told = count
    scoring.sequence = about.version.sequence if about.version else 0
    meta = {
        "positions": about.inputs,
        "topics": about.topics,
        "sequence": FIRST_BATCH,
        "taken": taken(portable),
        "dead": {},
        "models": [],
    }
    blobs = {}
    if about.order == "strict":
        lateness, held = duration_us(pipeline.lateness), portable.held
        watermark = about.seen_us - lateness if about.seen_us != NEVER else NEVER
        if held is not None:
            held = beside(held, Payloads.of(portable.values)).take(in_order(held))
        blobs["order"] = state_of(lateness, watermark, held)
    state.begin(meta, blobs)
    state.write(wait=True)
    state.close()
    scoring.close()


def taken(portable: Portable) -> dict[str, int]:
    """Events and labels that came in: those that are accounted for, and those that wait."""
    counts, held = portable.about.counts, portable.held
    events, labels = (sum(counts[name] for name in names) for names in (COUNTS[:3], COUNTS[3:10]))
    waiting = int(held.label.shape[0]) if held is not None else 0
    of_labels = int(np.count_nonzero(held.label >= 0)) if held is not None else 0
    return {"events": events + waiting - of_labels, "labels": labels + of_labels, "skipped": 0}
