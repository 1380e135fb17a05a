"""One schedule: who does the next step, and what goes wrong meanwhile, all drawn from one seed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from unittest.mock import patch

import msgspec

from benchmarks.proofs.proof import BrokenError, Record
from benchmarks.proofs.simulated.actor import Actor, Say
from benchmarks.proofs.simulated.checks import ODD, check
from benchmarks.proofs.simulated.faults import SeededFaults
from benchmarks.proofs.simulated.files import watched
from benchmarks.proofs.simulated.later import Later
from benchmarks.proofs.simulated.small import pipeline
from benchmarks.proofs.simulated.traffic import last, traffic
from jobs.config import Settings
from jobs.kafka_host import model_feed, publishing, topic_job
from jobs.kafka_host.learn_job import LearnJob
from jobs.kafka_host.score_job import ScoreJob
from jobs.promotion import places
from jobs.promotion.places import TopicPlace
from jobs.promotion.view import sentence
from streams import snapshots
from streams.errors import OutputError, StateError
from streams.journal import Entry, Journal
from streams.memory import Clock, Cluster, MemoryBroker
from streams.memory.log import ABORTED, COMMITTED, Transaction
from streams.topics import LABELS, MODELS, PREDICTIONS, TOPICS, TRANSACTIONS

QUIET = 3
"""Rounds without a fault in which nothing moved: there is nothing left to do."""
ROUND_SECONDS = 0.1
MOST_ROUNDS = 1000
OTHERS = {
    "publish": 3.0, "time": 1.0, "settle": 0.3, "compact": 0.1, "odd": 0.05, "grow": 0.01,
    "stop": 0.05, "kill": 0.05,
    "rival": 0.03, "forget": 0.02, "operate": 1.0,
}  # fmt: skip
"""How often each is the next step, that of a job being 2 to 12."""


class Schedule:
    """Everything there is in one run: the cluster, the jobs, what is still to be published."""

    def __init__(self, seed: int, folder: Path, say: Say) -> None:
        self._rng = rng = Random(seed)
        self._folder, self._say = folder, say
        self._clock = Clock()
        self._faults = SeededFaults(rng, self._clock, say)
        partitions = {TRANSACTIONS: rng.choice((1, 2)), LABELS: rng.choice((1, 1, 2))}
        partitions[PREDICTIONS] = rng.choice((1, 1, 3))
        topics = {name: partitions.get(name, 1) for name in TOPICS}
        self._cluster = Cluster(topics, clock=self._clock, faults=self._faults)
        self._settings = Settings(
            state=folder,
            order=rng.choice(("arrival", "arrival", "strict")),
            delivery=rng.choice(("at-least-once", "exactly-once")),
            commit_ms=rng.choice((1, 5, 50)),
            snapshot_seconds=rng.choice((0.02, 0.1, 0.5)),
        )
        strict = self._settings.order == "strict"
        self._filled = rng.random() < (0.6 if strict else 0.2)
        self._sent = traffic(rng, late=not strict)
        self._left = self._sent[::-1]
        self._transactional = 0.0 if self._filled else rng.choice((0.0, 0.0, 0.1))
        self._grown = False
        self._undecided: list[Transaction] = []
        self._aborted: set[Transaction] = set()
        self._entries: dict[int, Entry] = {}
        self._written: set[int] = set()
        around = self._cluster, self._faults, folder, say
        self._actors = {
            "score": Actor("score", self._score, *around),
            "learn": Actor("learn", self._learn, *around),
        }
        say(f"{self._settings.order}, {self._settings.delivery}, {partitions}, {len(self._sent)}")

    def _seconds(self) -> float:
        return self._clock() / 1e6

    def _second(self, broker: MemoryBroker) -> ScoreJob:
        """A second score job of the same group, with a folder of its own."""
        settings = replace(self._settings, state=self._folder / "rival")
        return ScoreJob(pipeline, broker, settings, threads=False)

    def _score(self, broker: MemoryBroker) -> ScoreJob:
        return ScoreJob(
            pipeline,
            broker,
            self._settings,
            clock=self._seconds,
            now_us=self._clock,
            threads=False,
        )

    def _learn(self, broker: MemoryBroker) -> LearnJob:
        return LearnJob(pipeline, broker, self._settings, clock=self._seconds, now_us=self._clock)

    def run(self) -> Record:
        """Play it to its end and check what it left; BrokenError where something does not hold."""
        with self._watched():
            self._disturbed()
            self._say("no more faults")
            self._faults.on, self._transactional = False, 0.0
            self._decide(len(self._undecided))
            self._undisturbed()
            if self._grown or self._rng.random() < 0.5:
                for actor in self._actors.values():
                    actor.stop()
            if self._grown:  # only now is it read, and learnt from, what a new partition holds
                self._undisturbed()
            self._left = [last(self._sent)]
            self._publish(1)
            self._undisturbed()
            for actor in self._actors.values():
                actor.stop()
        entries = [self._entries[sequence] for sequence in sorted(self._entries)]
        found = check(
            self._cluster,
            self._settings,
            entries,
            self._folder / "twins",
            filled=self._filled,
            inputs=self._actors["score"].inputs,
        )
        return found | {
            "transactions": len(self._cluster.read(TRANSACTIONS)),
            "starts": sum(actor.starts for actor in self._actors.values()),
            "outages": self._faults.outages,
            "full_disks": self._faults.full_disks,
            "struck": dict(self._faults.struck),
        }

    def _disturbed(self) -> None:
        """Publish, step, crash and start again until all is published, and a while longer."""
        if self._filled:
            self._publish(len(self._left))
        weights = {name: self._rng.randint(2, 12) for name in self._actors} | OTHERS
        names, rates = list(weights), list(weights.values())
        more = self._rng.randint(0, 50)
        while self._left or more:
            more -= not self._left
            self._clock.sleep(self._rng.choice((0.0, 0.0005, 0.003)))
            what = self._rng.choices(names, rates)[0]
            if what in self._actors:
                self._actors[what].step()
            else:
                getattr(self, f"_{what}")()

    def _publish(self, count: int = 0) -> None:
        for _ in range(min(count or self._rng.randint(1, 20), len(self._left))):
            sent = self._left.pop()
            transaction = None
            if self._rng.random() < self._transactional:
                transaction = Transaction(self._clock())
                self._undecided.append(transaction)
                if self._rng.random() < 0.5:  # what is aborted comes again
                    self._left.append(sent)
                    self._aborted.add(transaction)
            record = sent.value, sent.key, sent.headers
            self._cluster.append(sent.topic, *record, transaction=transaction)

    def _time(self) -> None:
        self._clock.sleep(self._rng.choice((0.01, 0.1, 0.1, 1.0, 70.0)))

    def _settle(self) -> None:
        self._cluster.settle()
        self._decide(self._rng.randint(0, len(self._undecided)))

    def _decide(self, count: int) -> None:
        """Have publishers end their transactions."""
        for _ in range(count):
            transaction = self._undecided.pop(self._rng.randrange(len(self._undecided)))
            transaction.decide(ABORTED if transaction in self._aborted else COMMITTED)

    def _odd(self) -> None:
        """Somebody writes to `models` what is no version."""
        key, value = self._rng.choice(ODD)
        self._cluster.append(MODELS, value, key)

    def _operate(self) -> None:
        """An operator has another model score, or a version again; some do not know of the last."""
        self._faults.on = False
        place = TopicPlace(MemoryBroker(self._cluster), self._settings, pipeline)
        there = place.read()
        if there.kept:
            wanted = str(self._rng.choice(sorted(there.kept)))
            decide = there.promote if self._rng.random() < 0.5 else there.rollback
            # It scores already, or whether it will score is not known yet.
            with suppress(StateError, OutputError):
                decision = decide(wanted, by="operator", reason="", at_us=self._clock())
                late = decision.number > 1 and self._rng.random() < 0.2
                place.decide(msgspec.structs.replace(decision, number=decision.number - late))
                self._say(f"decided{' too late' * late}: {sentence(decision)}")
        self._faults.on = True

    def _compact(self) -> None:
        self._cluster.topics[MODELS][0].compact()

    def _grow(self) -> None:
        """A topic gets a partition more, which jobs find when they begin again."""
        topic = self._rng.choice((TRANSACTIONS, LABELS, PREDICTIONS))
        self._say(f"{topic} gets a partition more")
        self._cluster.grow(topic)
        self._grown = True

    def _stop(self) -> None:
        self._rng.choice(list(self._actors.values())).stop()

    def _kill(self) -> None:
        self._rng.choice(list(self._actors.values())).kill()

    def _rival(self) -> None:
        """A second score job begins while the first is there: it is refused and does no harm."""
        if not self._actors["score"].running:
            return
        rival = Actor("rival", self._second, self._cluster, self._faults, self._folder, self._say)
        try:
            rival.step()
        except StateError as error:
            if "wanted it alone" not in str(error):
                raise
            self._say(f"a rival is refused: {error}")
        if rival.running:
            raise BrokenError("a second score job began in the group of the first")
        rival.kill()

    def _forget(self) -> None:
        """The learn job's state is lost: it learns everything again, to the same versions."""
        self._actors["learn"].kill()
        self._say("the state of learn is lost")
        shutil.rmtree(self._folder / "learn", ignore_errors=True)

    def _undisturbed(self) -> None:
        """Go on until nothing moves any more."""
        quiet, before = 0, self._moved()
        for _ in range(MOST_ROUNDS):
            self._clock.sleep(ROUND_SECONDS)
            done = [actor.step() for actor in self._actors.values()]
            now = self._moved()
            quiet, before = 0 if any(done) or now != before else quiet + 1, now
            if quiet == QUIET:
                return
        raise BrokenError("the jobs do not come to an end although nothing goes wrong")

    def _moved(self) -> list[object]:
        """What changes as long as somebody does something."""
        ends = [log.next for logs in self._cluster.topics.values() for log in logs]
        return [ends, [dict(group.positions) for group in self._cluster.groups.values()]]

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Have other threads' work done in this one, and journal entries noted."""
        append = Journal.append

        def noted(journal: Journal, entry: Entry) -> None:
            if entry.sequence in self._written:
                raise BrokenError(f"batch {entry.sequence} was taken anew, not made again")
            self._entries[entry.sequence] = entry
            append(journal, entry)
            self._written.add(entry.sequence)

        with (
            watched(),
            patch.object(logging.getLogger("headrace"), "disabled", True),
            patch.object(snapshots, "ThreadPoolExecutor", lambda *_: Later(self._faults)),
            patch.object(Journal, "append", noted),
            patch.object(publishing, "CHUNK_BYTES", 600),
            patch.object(publishing, "EVERY_SECONDS", 0.02),
            patch.object(publishing, "SHADOW_SECONDS", 0.05),
            patch.object(publishing, "KEPT", 2),
            patch.object(model_feed, "KEPT", 2),
            patch.object(places, "SENT_S", 0.0),
            patch.object(topic_job, "WORDS_AT_ONCE", 64),  # a record or two a turn
        ):
            yield
