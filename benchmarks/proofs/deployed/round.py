"""One round: a broker, both jobs, traffic, kills; then quiet, and everything is compared."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random
from threading import Event

import msgspec

from benchmarks.proofs.deployed.archive import Archive
from benchmarks.proofs.deployed.background import Background
from benchmarks.proofs.deployed.broker import Outages, make_topics, new_kafka
from benchmarks.proofs.deployed.fate import Fate, Restarts
from benchmarks.proofs.deployed.process import JobProcess, run_to_end
from benchmarks.proofs.deployed.publisher import Publisher
from benchmarks.proofs.deployed.reader import (
    Subscriber,
    as_cluster,
    committed,
    consumer,
    ends,
    read,
)
from benchmarks.proofs.deployed.scraped import ready, version_in_use
from benchmarks.proofs.deployed.traffic import endless
from benchmarks.proofs.proof import BrokenError, Record
from benchmarks.proofs.simulated import small
from benchmarks.proofs.simulated.checks import check
from benchmarks.proofs.simulated.traffic import LAST, last
from jobs.config import Delivery, Order, Settings
from jobs.kafka_host.model_feed import MANIFEST
from jobs.stack.ports import free_port
from streams.broker import Input
from streams.memory import Cluster
from streams.topics import LABELS, MODELS, OUTCOMES, PREDICTIONS, TOPICS, TRANSACTIONS

TURN_SECONDS, LOOK_SECONDS = 0.01, 0.2
IN_ORDER = 50
"""Records that may reach their partitions in another order than they are sent in, when topics are
filled: less than four minutes of event time, where strict order has ten to spare."""
QUIET_SECONDS = 180.0
"""How long it may take until all that was published is worked off."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """How the jobs are run, and what is published."""

    delivery: Delivery
    order: Order = "arrival"
    filled: int = 0
    """So many records are there before the jobs start, and none come later but one."""
    rate: float = 1500.0
    """Transactions a second, otherwise."""
    within: float = 3.0
    """Seconds within which a process is killed, since its start or since it is at work."""


@dataclass(frozen=True, slots=True)
class Kills:
    """How often each is killed in a round."""

    score: int
    broker: int
    learn: int


class Round:
    """Everything there is in one round; its files are in `folder`."""

    def __init__(self, scenario: Scenario, kills: Kills, seed: int, folder: Path) -> None:
        self._scenario, self._folder = scenario, folder
        rng = Random(seed)
        self._partitions = dict.fromkeys(TOPICS, 1)
        self._partitions[TRANSACTIONS] = rng.choice((1, 2))
        self._partitions[LABELS] = rng.choice((1, 1, 2))
        self._partitions[PREDICTIONS] = rng.choice((1, 1, 3))
        self._inputs = [
            Input(t, p) for t in (TRANSACTIONS, LABELS) for p in range(self._partitions[t])
        ]
        self._kafka = new_kafka(folder / "kafka")
        self._settings = settings = Settings(
            brokers=self._kafka.address,
            state=folder / "state",
            pipeline=str(Path(small.__file__)),
            order=scenario.order,
            delivery=scenario.delivery,
            commit_ms=50,
            snapshot_seconds=1.0,
            metrics_port=free_port(),
        )
        self._score = JobProcess("run", settings, folder / "score.log")
        learns = replace(settings, metrics_port=free_port())
        self._ports = settings.metrics_port, learns.metrics_port
        self._learn = JobProcess("learn", learns, folder / "learn.log")
        self._outages = Outages(self._kafka, Random(rng.random()), kills.broker)
        self._subscriber = subscriber = Subscriber(self._kafka.address)
        self._publisher = Publisher(self._kafka.client())
        self._records = endless(Random(rng.random()), late=scenario.order == "arrival")
        self._archive = Archive(settings.state / "score" / "journal", folder / "archive")
        self._restarts = restarts = Restarts(
            self._score, lambda: subscriber.newest_at, self._outages.last_away
        )
        at_work = (lambda: self._score.began) if scenario.filled else restarts.spoke
        self._fates = (
            Fate(self._score, kills.score, scenario.within, rng, at_work),
            Fate(self._learn, kills.learn, 8.0, rng, lambda: self._learn.began),
        )

    def play(self) -> Record:
        """Play it to its end; BrokenError where something does not hold."""
        with ExitStack() as stack:
            stack.callback(self._kafka.kill)
            self._kafka.start()
            make_topics(self._kafka, self._partitions)
            self._background = stack.enter_context(Background())
            stack.callback(self._score.close)
            stack.callback(self._learn.close)
            self._play()
            others = [topic for topic in TOPICS if topic != PREDICTIONS]
            records = [*self._subscriber.records, *read(self._kafka.address, others)]
            run_to_end(self._settings, "ledger")
        cluster = as_cluster(self._partitions, records)
        return self._compare(cluster) | {
            "score_kills": self._score.kills,
            "broker_kills": self._outages.kills,
            "learn_kills": self._learn.kills,
            "starts": self._score.starts,
            "gave_up": self._score.given_up + self._learn.given_up,
            "restart_seconds": self._restarts.seconds,
            "restart_seconds_away": self._restarts.seconds_away,
        }

    def _play(self) -> None:
        begin = self._background.begin
        reading, archiving = begin(self._subscriber.run), begin(self._archive.run)
        for place, each in enumerate(islice(self._records, self._scenario.filled), start=1):
            self._publisher.send(each)
            if not place % IN_ORDER:
                self._publisher.flush()
        self._publisher.flush()
        publishing = None if self._scenario.filled else begin(self._publish)
        self._score.start()
        self._learn.start()
        outages = begin(self._outages.run)
        while not (outages.done() and all(fate.done for fate in self._fates)):
            self._turn(TURN_SECONDS)
        if publishing:
            publishing.end()
        self._quiet()
        archiving.end()
        reading.end()

    def _publish(self, stop: Event) -> None:
        self._publisher.run(self._records, self._scenario.rate, stop)

    def _turn(self, seconds: float) -> None:
        """Let time pass: kill what is due, start again what gave up, raise what went wrong."""
        time.sleep(seconds)
        self._background.look()
        for job in (self._score, self._learn):
            job.look(self._outages.last_away())
        self._restarts.turn()
        for fate in self._fates:
            fate.turn()

    def _await(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + QUIET_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                said = f"{self._score.said()}\n{self._learn.said()}"
                raise BrokenError(f"wanted {what} within {QUIET_SECONDS:.0f} s:\n{said}")
            self._turn(LOOK_SECONDS)

    def _quiet(self) -> None:
        """Let everything be worked off, then one transaction more, and stop both jobs."""
        self._drain()
        self._learn.stop()
        if self._scenario.order == "arrival":
            newest = self._newest()
            self._await(
                f"version {newest} in use", lambda: version_in_use(self._ports[0]) >= newest
            )
        assert self._publisher.last is not None
        self._publisher.send(last([self._publisher.last]))
        self._publisher.flush()
        self._learn.start()
        self._drain()
        self._learn.stop()
        self._score.stop()

    def _drain(self) -> None:
        """Wait until both groups have committed all there is."""
        self._await("both jobs ready", lambda: all(map(ready, self._ports)))
        group = self._settings.group
        with consumer(self._kafka.address, [], group) as asked:
            wanted = ends(asked, self._inputs)
            self._await(
                f"group {group} at {wanted}", lambda: committed(asked, self._inputs) == wanted
            )
        told = [record.offset + 1 for record in read(self._kafka.address, [OUTCOMES])]
        with consumer(self._kafka.address, [], f"{group}-learn") as asked:
            outcomes = [Input(OUTCOMES, 0)]
            self._await(
                f"group {group}-learn at {told[-1:]}",
                lambda: committed(asked, outcomes) >= told[-1:],
            )

    def _newest(self) -> int:
        """The newest of the champion's versions that was published."""
        keys = [record.key.decode() for record in read(self._kafka.address, [MODELS])]
        numbers = (int(key.split("/")[0]) for key in keys if key.endswith(MANIFEST))
        turns = len(small.pipeline.contenders)
        return max((number for number in numbers if number % turns == 0), default=0)

    def _compare(self, cluster: Cluster) -> Record:
        """Hold what the topics have against what was sent, and against the twins."""
        held = self._scenario.order == "strict"
        missing = _ids(cluster) - self._subscriber.ids
        if missing and not held:
            raise BrokenError(f"{len(missing)} transactions without a prediction: {missing}")
        entries = self._archive.entries()
        filled = bool(self._scenario.filled)
        twins = self._folder / "twins"
        found = check(cluster, self._settings, entries, twins, filled=filled)
        return {"transactions": len(cluster.read(TRANSACTIONS)), **found, "batches": len(entries)}


class _Sent(msgspec.Struct):
    id: str


def _ids(cluster: Cluster) -> set[str]:
    """The ids of the transactions that are no garbage."""
    found = set()
    for record in cluster.read(TRANSACTIONS):
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            found.add(msgspec.json.decode(record.value or b"", type=_Sent).id)
    return {each for each in found if each == LAST or each.startswith("t")}
