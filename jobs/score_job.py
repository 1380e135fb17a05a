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
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

import msgspec
import numpy as np

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.delivery import Delivery
from jobs.monitoring.monitor import Monitor
from jobs.pipeline import Scored
from jobs.positions import kept, resumed, topics_of
from jobs.scoring import Scoring
from jobs.state import ScoringState
from jobs.takeover import Takeover
from jobs.topic_records import (
    Kept,
    TopicDecoder,
    headers_for,
    keep_headers,
    letter_records,
    prediction_records,
)
from jobs.versions import Versions
from operators.admission import COUNTS
from streams.batch import EVENT, LABEL, Batch
from streams.broker import Broker, Headers, Input
from streams.errors import DeadLetter
from streams.journal import Entry, Journal
from streams.merge import Merge, Taken
from streams.order import Sorter
from streams.ownership import own
from streams.records import Outcomes
from streams.schema import duration_us
from streams.topics import DEAD_LETTERS, LABELS, MODELS, OUTCOMES, PREDICTIONS, TRANSACTIONS

BATCH = 4096
"""The most records of a batch."""
FAR_AHEAD = 50_000
"""Records of an input that may wait to be merged; with more, it is not read."""
SETTLE_SECONDS = 0.2
CLOSE_SECONDS = 1.5
_KINDS = {TRANSACTIONS: EVENT, LABELS: LABEL}


class Online(Protocol):
    """Where the latest features and scores of each key go beside the topic."""

    def offer(self, batch: Batch, scored: Scored) -> None:
        """Take note of what came out of a batch, at once."""


class ScoreJob:
    """One score job. It owns the folder `settings.state / "score"` and the group `settings.group`.

    `clock` says in seconds what is due when, `now_us` what time of day it is; neither reaches a
    prediction. With `threads` versions are read by a thread of their own. Raises InputError or
    StateError when it cannot begin.
    """

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
    ) -> None:
        self.settings, self.pipeline = settings, pipeline
        self._clock, self._now_us, self._online = clock, now_us, online
        self._topics = {
            name: settings.topic(name) for name in (PREDICTIONS, OUTCOMES, DEAD_LETTERS)
        }
        wanted = {settings.topic(name): kind for name, kind in _KINDS.items()}
        made = broker.partitions([*wanted, *self._topics.values(), settings.topic(MODELS)])
        self.inputs = tuple(Input(topic, p) for topic in wanted for p in range(made[topic]))
        self._topic_ids = topics_of(broker, self.inputs)
        kinds = [wanted[topic] for topic, _ in self.inputs]
        self._stack = ExitStack()
        self.folder = settings.state / "score"
        self._stack.enter_context(own(self.folder))
        self.scoring = Scoring(pipeline, self.folder)
        self._sorter = (
            Sorter(duration_us(pipeline.lateness)) if settings.order == "strict" else None
        )
        self._state = ScoringState(self.scoring, self.folder / "snapshots")
        self._journal = Journal(self.folder / "journal", fsync=settings.fsync)
        self._decoder = TopicDecoder(pipeline.event, self.inputs, kinds)
        self._merge = Merge([int(kind == EVENT) for kind in kinds])
        self._headers: Kept = {}
        self.monitor = Monitor(
            "score",
            pipeline=pipeline.name,
            definition=pipeline.definition,
            inputs=self.inputs,
            clock=clock,
            now_us=now_us,
        )
        self.monitor.ledger, self.monitor.state_bytes = self.ledger, self.scoring.sizes
        self.taken = Counter({"events": 0, "labels": 0, "skipped": 0})
        self.dead = Counter[str]()
        self.sequence = 0
        self._from_us = 0
        exactly_once = settings.delivery == "exactly-once"
        # The group first: to open a producer by its id for transactions fences whoever had it.
        self._consumer = broker.consumer(self.inputs, settings.group, str(self.folder.resolve()))
        self._stack.callback(self._consumer.close)
        producer = broker.producer(f"{settings.prefix}{settings.group}" if exactly_once else None)
        self._stack.callback(producer.close)
        self._versions = Versions(
            broker, settings, self.scoring, self.folder / "models", threads=threads
        )
        self._stack.callback(self._versions.close)
        self._begin(self._consumer.bounds())
        self._delivery = Delivery(
            self._consumer,
            producer,
            self._consumer.committed(),
            exactly_once=exactly_once,
            commit_seconds=settings.commit_ms / 1000,
            clock=clock,
        )
        self._snapshot_due = clock() + settings.snapshot_seconds
        self.monitor.done("start")

    def _begin(self, bounds: Sequence[tuple[int, int]]) -> None:
        """Go on from the newest snapshot and with what the journal promised after it."""
        found = self._state.restore()
        meta, blobs = found or ({}, {})
        self._positions = resumed(meta, self._topic_ids, self.inputs, bounds, self.folder)
        if found:
            took_over = Takeover.load(self.folder)
            self._from_us = took_over.from_us if took_over else 0
            self.sequence = meta["sequence"]
            self.taken.update(meta["taken"])
            self.dead.update(meta["dead"])
            if self._sorter:
                self._sorter.restore(blobs["order"])
                self._headers = _unpacked(blobs["headers"]) if "headers" in blobs else {}
            version = meta.get("version", took_over.version if took_over else 0)
            self._versions.restore(version, meta.get("models", ()))
        self._kept = [self._needs()] * 3
        self._promised = list(self._journal.entries(self.sequence))
        self._promised.reverse()
        if self._promised:
            self.monitor.wait("restore", f"{self.resuming} batches of the journal are made again")
        self._consumer.seek(self._positions)
        self._ahead = self._positions.copy()

    def _needs(self) -> tuple[int, int, int]:
        """What a restart needs: journal, log of ids and versions from these numbers on."""
        return self.sequence, self.scoring.index.first_row, self._versions.in_force[0]

    @property
    def resuming(self) -> int:
        """Batches of the journal that are still to be made again."""
        return len(self._promised)

    def began(self) -> str:
        """How it begins, in a line."""
        state = f"going on in {self.folder}" if self.sequence else f"new state in {self.folder}"
        again = f", {self.resuming} batches of the journal to make again" if self.resuming else ""
        return (
            f"pipeline {self.pipeline.name}, {len(self.inputs)} partitions, order "
            f"{self.settings.order}, {self.settings.delivery}, {state}{again}, "
            f"version {self._versions.in_force[0]}"
        )

    def said(self) -> str:
        """Where it stands, in a line."""
        behind = sum(gauge.behind for gauge in self.monitor.inputs)
        counts = self.ledger()
        return (
            f"{counts['admitted']:,} predictions, {behind:,} records behind, version "
            f"{self._versions.in_force[0]}, {sum(self.dead.values()):,} dead letters"
        )

    def ledger(self) -> dict[str, int]:
        """The index's counts by name, and the events and labels that came in."""
        counts = dict(zip(COUNTS, self.scoring.counts.tolist(), strict=True))
        taken = {"events_taken": self.taken["events"], "labels_taken": self.taken["labels"]}
        return counts | taken | {"skipped": self.taken["skipped"]}

    def step(self, timeout: float) -> int:
        """One turn: how many records were carried through; waits up to `timeout` for the first."""
        self._delivery.turn()
        self.monitor.turned()
        self.monitor.output_waiting = self._delivery.waiting
        self.monitor.snapshots.seen(self._now_us(), busy=self._state.busy)
        if self._delivery.full:
            self._delivery.turn(timeout)
            return 0
        taken = self._resume(timeout) if self._promised else self._next(timeout)
        news = self.sequence > self._kept[-1][0]
        if news and not self._promised and self._clock() >= self._snapshot_due:
            self.snapshot()
        return taken

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
        self._versions.swap(self.monitor)
        self._bury(self._versions.letters())
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
            self._ahead[run.input] = run.offsets[-1] + 1

    def _carry(self, taken: Taken, promised: Entry | None) -> None:
        """Carry a batch through, journal it, and only then let what came of it go."""
        ranges = taken.ranges
        batch, letters = self._decoder.decode(taken)
        events = int(np.count_nonzero(batch.kind == EVENT))
        self.taken.update(events=events, labels=len(batch) - events)
        batch = self._since_takeover(batch)
        keep_headers(taken, batch, self._headers)
        if self._sorter:
            batch, _ = self._sorter.push(batch)
        scored, outcomes = self.scoring.process(batch)
        letters += [self._decoder.conflict(taken, letter) for letter in scored.letters]
        self.sequence += 1
        if promised is None:
            version, digest = self._versions.in_force
            self._journal.append(Entry(self.sequence, ranges, version, digest))
        for place, _, last, _ in ranges.tolist():
            self._positions[place] = last + 1
        self.dead.update(letter.reason.value for letter in letters)
        self.monitor.dead_letters.update(letter.reason.value for letter in letters)
        headers = headers_for(batch, scored, self._headers)
        if self._delivery.is_new(self._positions):
            self._send(batch, scored, outcomes, letters, headers)
        self._delivery.reached(self._positions)
        if self._online:
            self._online.offer(batch, scored)
        self._observe(taken)

    def _since_takeover(self, batch: Batch) -> Batch:
        """Leave out what lies before the moment at which this job took over from files."""
        before = batch.time < self._from_us
        if not before.any():
            return batch
        self.taken["skipped"] += int(np.count_nonzero(before))
        return batch.take(np.flatnonzero(~before))

    def _send(
        self,
        batch: Batch,
        scored: Scored,
        outcomes: list[Outcomes],
        letters: list[DeadLetter],
        headers: list[Headers | None] | None,
    ) -> None:
        if len(scored):
            keys, values = prediction_records(batch, scored, self.scoring.names)
            self._delivery.send(self._topics[PREDICTIONS], values, keys, headers)
        self._delivery.send(
            self._topics[OUTCOMES], [msgspec.json.encode(each) for each in outcomes]
        )
        self._bury(letters)

    def _bury(self, letters: list[DeadLetter]) -> None:
        if letters:
            keys, values = letter_records(letters)
            self._delivery.send(self._topics[DEAD_LETTERS], values, keys)

    def snapshot(self, *, wait: bool = False) -> bool:
        """Commit what is sent, then the state; False if the broker or the disk is not done yet."""
        if self._state.busy and not wait:
            return False
        if not self._delivery.settle(CLOSE_SECONDS if wait else SETTLE_SECONDS):
            return False
        meta = {
            "sequence": self.sequence,
            **kept(self._topic_ids, self.inputs, self._positions),
            "models": self._versions.positions,
            "taken": dict(self.taken),
            "dead": dict(self.dead),
        }
        blobs = {}
        if self._sorter:
            blobs = {"order": self._sorter.state(), "headers": _packed(self._headers)}
        self.monitor.snapshots.begun(self._now_us())
        self._state.commit(meta, blobs, wait=wait)  # having waited for the one before
        self._kept = [*self._kept[1:], self._needs()]
        sequence, row, version = self._kept[0]
        self._journal.truncate_before(sequence)
        self.scoring.ids.forget(row)
        self._versions.retain_from(version)
        self._snapshot_due = self._clock() + self.settings.snapshot_seconds
        return True

    def close(self) -> None:
        """Commit everything and let go of folder and group, for whoever goes on.

        Where the broker does not answer in time the last snapshot and the journal stay good.
        """
        try:
            if not self._promised:
                self.snapshot(wait=True)
            self._state.close()
            self._journal.close()
        finally:
            self._stack.close()

    def _observe(self, taken: Taken) -> None:
        """Say what this batch did to the figures."""
        now = self._now_us()
        ends = self._consumer.ends()
        for place, gauge in enumerate(self.monitor.inputs):
            mine = taken.stamps[taken.inputs == place]
            newest = int(mine[-1]) if len(mine) else 0
            gauge.step(len(mine), max(ends[place] - self._positions[place], 0), newest, now)
        self.monitor.latency.add_since(taken.stamps, now)


def _packed(headers: Kept) -> bytes:
    return msgspec.msgpack.encode([(*at, list(each)) for at, each in headers.items()])


def _unpacked(raw: bytes) -> Kept:
    rows = msgspec.msgpack.decode(raw, type=list[tuple[int, int, list[tuple[str, bytes | None]]]])
    return {(place, offset): headers for place, offset, headers in rows}
