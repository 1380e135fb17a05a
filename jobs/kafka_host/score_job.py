"""The score job: transactions and labels from topics, predictions to one.

    job = ScoreJob(pipeline, broker, settings)
    while not stopped:
        job.step(0.1)
    job.close()

A step takes what is there, carries it through, notes in the journal what it took and which version
scored it, and only then lets the output go. Every few seconds state and positions become a
snapshot. A job that was killed goes on from the last one: it takes what the journal says it had
taken, in the same order and with the same versions, to the same bytes, sends what had not been
committed, and goes on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from jobs.change import Change
from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.kafka_host.handing_on import HandingOn
from jobs.kafka_host.positions import Origin, placed
from jobs.kafka_host.takeover import Takeover
from jobs.kafka_host.topic_job import RELEASE_ROWS, TopicJob, log
from jobs.kafka_host.versions import Versions
from jobs.monitoring.recent import Recent
from jobs.pipeline import Scored
from jobs.scoring import Scoring, Told
from jobs.state import ScoringState
from jobs.topic_records import (
    Kept,
    TopicDecoder,
    headers_for,
    keep_headers,
    letter_records,
    parted,
    prediction_records,
    sorter_state,
    with_records,
)
from operators.admission import COUNTS
from streams.batch import EVENT, LABEL, Batch
from streams.broker import Broker, Headers, Input
from streams.errors import DeadLetter, StateError
from streams.journal import Entry, Journal
from streams.merge import Merge, Taken
from streams.order import Sorter
from streams.schema import duration_us
from streams.timestamps import time_text
from streams.topics import DEAD_LETTERS, LABELS, MODELS, OUTCOMES, PREDICTIONS, TRANSACTIONS

Int64s = npt.NDArray[np.int64]
BATCH = 16_384
"""The most records of a batch: what is done once a batch costs little, and what the caches hold of
a kernel is used longer."""
FAR_AHEAD = 50_000
"""Records of an input that may wait to be merged; with more, it is not read."""
_KINDS = {TRANSACTIONS: EVENT, LABELS: LABEL}
_Made = tuple[Batch, Scored, list[Told], list[DeadLetter], list[Headers | None] | None]
"""A batch, what came of it, and the headers of its predictions."""


class Online(Protocol):
    """Where the latest features and scores of each key go beside the topic."""

    def offer(self, batch: Batch, scored: Scored) -> None:
        """Take note of what came out of a batch, at once."""


class ScoreJob(TopicJob):
    """One score job. It owns the folder `settings.state / "score"` and the group `settings.group`.

    With `threads` versions are read by a thread of their own. The state of a pipeline with other
    features is gone on with, with `warm_up` also where they begin short. The rest is said of
    `TopicJob`.
    """

    _state: ScoringState
    _patient = (OUTCOMES, DEAD_LETTERS)

    def __init__(
        self,
        pipeline: Pipeline,
        broker: Broker,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        online: Online | None = None,
        threads: bool = True,
        warm_up: bool = False,
    ) -> None:
        self._online, self._threads, self._warm_up = online, threads, warm_up
        self._topics = {
            name: settings.topic(name) for name in (PREDICTIONS, OUTCOMES, DEAD_LETTERS)
        }
        wanted = {settings.topic(name): kind for name, kind in _KINDS.items()}
        made = broker.partitions([*wanted, *self._topics.values(), settings.topic(MODELS)])
        there = [Input(topic, p) for topic in wanted for p in range(made[topic])]
        super().__init__(
            "score",
            pipeline,
            broker,
            settings,
            placed(settings.state / "score", there),
            settings.group,
            clock=clock,
            now_us=now_us,
        )
        self._ahead = self._positions.copy()

    def _begin(self, broker: Broker, stack: ExitStack) -> Mapping[str, Any]:
        pipeline, settings = self.pipeline, self.settings
        kinds = [_KINDS[topic.removeprefix(settings.prefix)] for topic, _ in self.inputs]
        self.scoring = Scoring(pipeline, self.folder)
        stack.callback(self.scoring.close)
        self._sorter = (
            Sorter(duration_us(pipeline.lateness)) if settings.order == "strict" else None
        )
        self._state = ScoringState(
            self.scoring,
            self.folder / "snapshots",
            fsync=settings.fsync,
            warm_up=self._warm_up,
        )
        stack.callback(self._state.close)
        self._journal = Journal(self.folder / "journal", fsync=settings.fsync)
        stack.callback(self._journal.close)
        self._decoder = TopicDecoder(pipeline.event, self.inputs, kinds)
        self._merge = Merge([int(kind == EVENT) for kind in kinds])
        self._headers: Kept = {}
        self.monitor.ledger, self.monitor.state_bytes = self.ledger, self.scoring.sizes
        self.monitor.features = Recent(self.scoring.names)
        self.taken = Counter({"events": 0, "labels": 0, "skipped": 0})
        self.dead = Counter[str]()
        self.sequence = self._from_us = self._touched = 0
        self._versions = Versions(
            broker,
            settings,
            self.scoring,
            self.folder / "models",
            self.monitor,
            threads=self._threads,
        )
        stack.callback(self._versions.close)
        self._handing_on = HandingOn(beside=self._threads and settings.delivery != "exactly-once")
        stack.callback(self._handing_on.close)
        return self._restore()

    def _restore(self) -> Mapping[str, Any]:
        """Go on from the newest snapshot and with what the journal promised after it."""
        found = self._state.restore()
        meta, blobs = found or ({}, {})
        if found:
            took_over = Takeover.load(self.folder)
            self._from_us = took_over.from_us if took_over else 0
            self.sequence = meta["sequence"]
            self.taken.update(meta["taken"])
            self.dead.update(meta["dead"])
            if self._sorter:
                self._sorter.restore(sorter_state(self.pipeline.event, blobs["order"]))
                self._headers = _unpacked(blobs["headers"]) if "headers" in blobs else {}
            version = meta.get("version", took_over.version if took_over else 0)
            if self._state.change:
                version = 0  # its versions take other features
            self._versions.restore(version, meta.get("models", ()))
        self._promised = list(self._journal.entries(self.sequence))
        self._promised.reverse()
        self._versions.promise(each.version for each in self._promised)
        if self._state.change:
            self._changed(self._state.change, meta, blobs)
        if self._promised:
            Origin.of(self.folder).check(self._topic_ids, self.folder)
            self.monitor.wait("restore", f"{self.resuming} batches of the journal are made again")
        Origin(self.inputs, self._topic_ids).keep(self.folder, fsync=self.settings.fsync)
        return meta

    def _changed(self, change: Change, meta: dict[str, Any], blobs: dict[str, bytes]) -> None:
        """Keep the state of another pipeline as that of this one, before anything comes to it."""
        if self._promised:
            raise StateError(
                f"{self.folder}: is of another pipeline, which was killed {self.resuming} batches "
                "after its last snapshot; start that one again, stop it with Ctrl-C or SIGTERM, "
                "and then change the file"
            )
        self._state.commit(meta, blobs)
        self._versions.begin_anew()
        for line in change.said:
            log.info("%s", line)
        log.info("the prior scores until the learner publishes a version of this pipeline")

    def _needs(self) -> tuple[int, ...]:
        """The first of the journal's entries, of the log of ids, and of the versions in use."""
        return self.sequence, self.scoring.index.first_row, self._versions.uses

    def _forget(self, *needed: int) -> None:
        sequence, row, uses = needed
        self._journal.truncate_before(sequence)
        self.scoring.ids.forget(row)
        self._versions.retain_from(uses)

    @property
    def resuming(self) -> int:
        """Batches of the journal that are still to be made again."""
        return len(self._promised)

    def began(self) -> str:
        """How it begins, in a line."""
        state = f"going on in {self.folder}" if self.sequence else f"new state in {self.folder}"
        again = f", {self.resuming} batches of the journal to make again" if self.resuming else ""
        since = f", what came before {time_text(self._from_us)} left out" if self._from_us else ""
        return (
            f"pipeline {self.pipeline.name}, {len(self.inputs)} partitions, order "
            f"{self.settings.order}, {self.settings.delivery}, {state}{since}{again}, "
            f"version {self._versions.in_force[0]}"
        )

    def said(self) -> str:
        """Where it stands, in a line."""
        counts = self.ledger()
        return (
            f"{counts['admitted']:,} predictions, {self.behind:,} records behind, version "
            f"{self._versions.in_force[0]}, {sum(self.dead.values()):,} dead letters"
        )

    def ledger(self) -> dict[str, int]:
        """The index's counts by name, and the events and labels that came in."""
        counts = dict(zip(COUNTS, self.scoring.counts.tolist(), strict=True))
        taken = {"events_taken": self.taken["events"], "labels_taken": self.taken["labels"]}
        return counts | taken | {"skipped": self.taken["skipped"]}

    def _turn(self, timeout: float) -> int:
        self._handing_on.heed()
        return self._resume(timeout) if self._promised else self._next(timeout)

    def _resume(self, timeout: float) -> int:
        """Make a batch of the journal again, once its records are here."""
        self._read(timeout)
        entry = self._promised[-1]
        taken = self._merge.exactly(entry.ranges)
        if taken is None:
            return 0
        self._versions.serve(entry.version, entry.digest)
        self._promised.pop()
        self._carry(taken, entry)
        if not self._promised:
            self.monitor.done("restore")
        return len(taken)

    def _next(self, timeout: float) -> int:
        """Take what is there, in order."""
        self._versions.swap()
        if letters := self._versions.letters():
            self._handing_on.settle()
            self._bury(letters)
        self._read(timeout)
        ends = self._consumer.ends()
        unread = [end > at for end, at in zip(ends, self._ahead, strict=True)]
        taken = self._merge.take(BATCH, unread)
        if len(taken):
            self._carry(taken, None)
        return len(taken)

    def _read(self, timeout: float) -> None:
        held = [self._merge.held(place) for place in range(len(self.inputs))]
        self._consumer.pause([place for place, count in enumerate(held) if count > FAR_AHEAD])
        for run in self._consumer.poll(BATCH, 0.0 if any(held) else timeout):
            self._merge.push(run)
            self._ahead[run.input] = run.next

    def _carry(self, taken: Taken, promised: Entry | None) -> None:
        """Carry a batch through, journal it, and only then let what came of it go."""
        ranges = taken.ranges
        batch, letters = self._decoder.decode(taken)
        events = int(np.count_nonzero(batch.kind == EVENT))
        self.taken["events"] += events
        self.taken["labels"] += len(batch) - events
        batch = self._since_takeover(batch)
        keep_headers(taken, batch, self._headers)
        records = taken
        if self._sorter:
            batch, records = parted(self._sorter.push(with_records(batch, taken))[0])
        scored, told = self.scoring.process(batch)
        letters += [self._decoder.conflict(records, letter) for letter in scored.letters]
        self.sequence += 1
        if promised is None:
            version, digest = self._versions.in_force
            self._journal.append(Entry(self.sequence, ranges, version, digest))
        for place, _, last, count in ranges.tolist():
            self._positions[place] = last + 1
            self.monitor.inputs[place].took(count, int(taken.stamps[-1]))
        if letters:
            self.dead.update(letter.reason.value for letter in letters)
        headers = headers_for(batch, scored, self._headers)
        positions = self._positions.copy()
        if self._delivery.is_new(positions):
            made = batch, scored, told, letters, headers
            self._handing_on.begin(
                len(taken), partial(self._hand_on, made, positions, taken.stamps)
            )
            self.monitor.scored(scored.scores[:, 0], scored.review, scored.late, scored.features)
        else:
            self._handing_on.settle()
            self._delivery.reached(positions)
        if self._online:
            self._online.offer(batch, scored)
        self._unmap(len(taken))

    def _since_takeover(self, batch: Batch) -> Batch:
        """Leave out what lies before the moment at which this job took over from files."""
        if not self._from_us:
            return batch
        before = batch.time < self._from_us
        if not before.any():
            return batch
        self.taken["skipped"] += int(np.count_nonzero(before))
        return batch.take(np.flatnonzero(~before))

    def _hand_on(self, made: _Made, positions: list[int], stamps: Int64s) -> None:
        self._send(*made)
        self._delivery.reached(positions, stamps)

    def _send(
        self,
        batch: Batch,
        scored: Scored,
        told: list[Told],
        letters: list[DeadLetter],
        headers: list[Headers | None] | None,
    ) -> None:
        if len(scored):
            keys, values = prediction_records(
                batch, scored, self.scoring.names, self.scoring.inputs
            )
            self._delivery.send(self._topics[PREDICTIONS], values, keys, headers)
        self._delivery.send(self._topics[OUTCOMES], [each.record() for each in told])
        self._bury(letters)

    def _bury(self, letters: list[DeadLetter]) -> None:
        if letters:
            self.monitor.dead_letters.update(letter.reason.value for letter in letters)
            keys, values = letter_records(letters)
            self._delivery.send(self._topics[DEAD_LETTERS], values, keys)

    def _unmap(self, taken: int) -> None:
        """Let go of the pages of the log of ids that labels have mapped, once in a while."""
        self._touched += taken
        if self._touched >= RELEASE_ROWS:
            self._touched = 0
            self.scoring.ids.release()

    def snapshot(self) -> bool:
        self._handing_on.settle()
        return super().snapshot()

    def _save(self, meta: dict[str, Any]) -> None:
        self._handing_on.settle()
        values = {
            "sequence": self.sequence,
            "models": self._versions.positions,
            "taken": dict(self.taken),
            "dead": dict(self.dead),
        }
        blobs = {}
        if self._sorter:
            blobs = {"order": self._sorter.state(), "headers": _packed(self._headers)}
        self._state.begin(meta | values, blobs)


def _packed(headers: Kept) -> bytes:
    return msgspec.msgpack.encode([(*at, list(each)) for at, each in headers.items()])


def _unpacked(raw: bytes) -> Kept:
    rows = msgspec.msgpack.decode(raw, type=list[tuple[int, int, list[tuple[str, bytes | None]]]])
    return {(place, offset): headers for place, offset, headers in rows}
