"""Reads some inputs, for a group or for nobody."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import wait
from typing import Any

from streams.broker import NEVER, Input, Run
from streams.errors import HeadraceError, InputError, StateError
from streams.kafka.cluster import ANSWER_S, Cluster, Heard
from streams.kafka.commits import Commits
from streams.kafka.failures import DISPLACED, HOPELESS, LEADERLESS, said_of, translated
from streams.kafka.library import Error, Failure, Partition, client, in_background, open_client
from streams.kafka.membership import Membership
from streams.kafka.pace import Pace
from streams.kafka.reader import Reader
from streams.kafka.records import Records
from streams.kafka.settings import CONSUMER, FETCH_BYTES
from streams.kafka.watch import Watch

JOIN_S = 60.0
NO_GROUP = "headrace-none"
"""librdkafka wants a name even of who joins no group."""
SLICE_S = 0.05
CLOSE_S = 1.5
"""How long `close` waits for a commit to be acknowledged."""


class KafkaConsumer:
    """Fills `streams.broker.Consumer`.

    With a membership it is a member of the group so that others are kept out, but what it reads
    and from where it always says itself: whatever the coordinator assigns, and however often,
    reading goes on at the position after the last record that was handed out. So there are two
    clients, one that reads and belongs to no group, and one for the group that reads nothing.
    """

    def __init__(
        self,
        cluster: Cluster,
        inputs: Sequence[Input],
        membership: Membership | None,
        patience: float = 0.0,
    ) -> None:
        self.inputs, self.pace = tuple(inputs), Pace()
        self._cluster, self._membership = cluster, membership
        self._group = membership.group if membership else NO_GROUP
        self._watch = Watch(cluster, sorted({topic for topic, _ in inputs}), InputError)
        self._partitions = [Partition(*each) for each in self.inputs]
        self._commits = Commits(self._commit, self._note)
        self._paused: tuple[int, ...] = ()
        self._reading = False
        self._joined = self._lost = False
        self._sole = membership is None
        self._failed: HeadraceError | None = None
        self._heard = Heard()
        settings = {**cluster.settings, **CONSUMER}
        reading = {**settings, "group.id": NO_GROUP}
        if patience:
            reading |= {"fetch.min.bytes": FETCH_BYTES, "fetch.wait.max.ms": int(1000 * patience)}
        self._left = False
        self._reader = Reader(reading, self._heard)
        self._records = Records(self.inputs, self._reader.topic_of, self._note)
        if membership:
            joining = {**settings, **membership.settings, "on_commit": self._commits.heard}
            self._client = open_client(client.Consumer, joining, self._heard)
            try:
                self._join(membership)
            except HeadraceError:
                self._leave()
                raise

    @property
    def away(self) -> str:
        if not self._watch.silent:
            return ""
        reason = self._heard.connection
        said = f": {said_of(reason)}" if reason else ""
        return f"{self._cluster.bootstrap} does not answer{said}"

    def bounds(self) -> list[tuple[int, int]]:
        found = []
        for each in self.inputs:
            what = f"{each.topic}/{each.partition}: wanted the offsets that it holds"
            found.append(self._bounds_of(each, what))
        for place, (_, high) in enumerate(found):
            self._records.reach(place, high)
        return found

    def _bounds_of(self, at: Input, what: str) -> tuple[int, int]:
        """Ask; a partition that was just made may be without a leader for a moment."""
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                return self._reader.bounds(at, ANSWER_S)
            except Failure as failure:
                error = failure.args[0]
                if error.code() == Error._TIMED_OUT:
                    raise InputError(
                        f"{what}, got no answer within {ANSWER_S:.0f} s; try again"
                    ) from failure
                if error.code() not in LEADERLESS or time.monotonic() > deadline:
                    raise translated(error, what) from failure
                time.sleep(SLICE_S)

    def committed(self) -> list[int]:
        what = f"{self._cluster.bootstrap}: wanted the positions of group {self._group}"
        try:
            answers = self._client.committed(self._partitions, timeout=ANSWER_S)
        except Failure as failure:
            if failure.args[0].code() == Error._TIMED_OUT and self._left_open():
                raise StateError(
                    f"{what}, but a transaction that would change them has no end: it is another "
                    "producer's, or the broker died as it was ended and never told the partitions "
                    "(Apache Kafka, on a single broker). kafka-transactions.sh find-hanging names "
                    "it; abort takes back what it wrote, and what a snapshot came after is not "
                    "made again"
                ) from failure
            raise translated(failure.args[0], what) from failure
        for answer in answers:
            if answer.error is not None:
                raise translated(answer.error, what)
        return [answer.offset if answer.offset >= 0 else NEVER for answer in answers]

    def _left_open(self) -> bool:
        """Whether the group's positions are there but for a transaction that is not ended."""
        settings = self._cluster.settings | {
            "group.id": self._group,
            "isolation.level": "read_uncommitted",
        }
        asked = open_client(client.Consumer, settings, Heard())
        try:
            answers = asked.committed(self._partitions, timeout=ANSWER_S)
        except Failure:
            return False
        else:
            return all(answer.error is None for answer in answers)
        finally:
            asked.close()

    def seek(self, positions: Sequence[int]) -> None:
        self._records.restart(positions)
        self._reading = True
        if self._joined or self._membership is None:
            self._assign()

    def poll(self, limit: int, timeout: float) -> list[Run]:
        if self._left:
            self._raise_if_failed()
        sole = self._sole
        if self._membership:
            self._serve_group(0.0 if sole else timeout)
        self._commits.serve()
        if not self._sole:
            self._settle()
        self._watch.look()
        # Last of all: nothing stands between a record that has come and whoever waits for it.
        messages = self._reader.poll(limit, timeout, self.pace) if sole and self._sole else None
        if messages:
            self.pace.take(self._reader.came)
        runs = self._records.runs(messages) if messages else []
        self._raise_if_failed()
        return runs

    def ends(self) -> list[int]:
        for place in self._records.open_ended():
            self._records.reach(place, self._reader.high(self.inputs[place]))
        return self._records.ends()

    def pause(self, inputs: Sequence[int]) -> None:
        wanted = tuple(sorted(inputs))
        if wanted == self._paused:
            return
        resumed = set(self._paused) - set(wanted)
        added = set(wanted) - set(self._paused)
        self._paused = wanted
        if resumed:
            self._reader.resume(self.inputs[place] for place in resumed)
        if added:
            self._reader.pause(self.inputs[place] for place in added)

    def commit(self, positions: Sequence[int]) -> None:
        if self._membership is None:
            raise ValueError("a consumer without a group has no positions to commit")
        if any(position != NEVER for position in positions):
            self._commits.want(list(positions))

    def places(self, positions: Sequence[int]) -> list[Any]:
        """These positions as librdkafka wants them, but for those that are NEVER."""
        return [
            Partition(*each, position)
            for each, position in zip(self.inputs, positions, strict=True)
            if position != NEVER
        ]

    def member(self, timeout: float) -> Any:
        """What proves to the broker that the group is ours; None while that is not known.

        After an outage it may take `timeout` seconds to find out. Nothing is read meanwhile.
        """
        deadline = time.monotonic() + timeout
        while not (self._joined and self._sole) and time.monotonic() < deadline:
            self.poll(1, min(SLICE_S, timeout))
        return self._client.consumer_group_metadata() if self._joined and self._sole else None

    def close(self) -> None:
        deadline = time.monotonic() + CLOSE_S
        while self._commits.pending and self._failed is None and time.monotonic() < deadline:
            self._serve_group(0.01)
            self._commits.serve()
        self._leave()

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            # With a commit or a question under way they wait for the broker, however long.
            closing = [in_background(self._reader.close)]
            if self._membership is None:
                wait(closing, CLOSE_S)
                return
            member = self._client.memberid() if self._joined else None
            closing.append(in_background(self._client.close))
            wait(closing, CLOSE_S)
            if member and closing[1].done():
                self._membership.leave(member)

    def _join(self, membership: Membership) -> None:
        membership.want_free()
        topics = sorted({topic for topic, _ in self.inputs})
        self._client.subscribe(
            topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        deadline = time.monotonic() + JOIN_S
        while not self._sole:
            self.poll(1, SLICE_S)
            if time.monotonic() > deadline:
                raise StateError(
                    f"{self._cluster.bootstrap}: wanted to join group {membership.group}, but its "
                    f"coordinator let nobody in for {JOIN_S:.0f} s; see the broker's log"
                )

    def _settle(self) -> None:
        """Find out whether the group is ours; until it is known, nothing is read."""
        if self._membership and self._joined:
            try:
                self._sole = self._membership.is_sole(lost=self._lost)
            except StateError as refused:
                self._failed = refused
                self._leave()
                return
            if self._sole:
                self._lost = False
                self._assign()

    def _assign(self) -> None:
        if self._sole and self._reading:
            pairs = zip(self.inputs, self._records.next, strict=True)
            self._read([(each, position) for each, position in pairs if position != NEVER])
            if self._paused:
                self._reader.pause(self.inputs[place] for place in self._paused)

    def _read(self, places: Sequence[tuple[Input, int]]) -> None:
        if not self._left:
            self._reader.assign(places)
            self._records.reassigned()

    def _serve_group(self, timeout: float) -> None:
        """Have the group's callbacks called."""
        message = self._client.poll(timeout)
        if message is not None and message.error():
            self._note(message.error(), message.topic() or "")

    def _on_assign(self, _: Any, given: list[Any]) -> None:
        self._client.assign([])
        self._read([])
        self._joined, self._sole = True, False

    def _on_revoke(self, _: Any, taken: list[Any]) -> None:
        self._read([])
        self._joined = False

    def _on_lost(self, _: Any, taken: list[Any]) -> None:
        self._read([])
        self._joined, self._lost = False, True

    def _commit(self, positions: Sequence[int]) -> None:
        self._client.commit(offsets=self.places(positions), asynchronous=True)

    def _note(self, error: Any, topic: str = "") -> None:
        """Keep an error to be raised, if it is none that librdkafka recovers from by itself."""
        if self._failed is None and self._membership and error.code() in DISPLACED:
            self._failed = self._membership.displaced()
        elif self._failed is None and error.code() in HOPELESS:
            where = topic or f"{self._cluster.bootstrap}, group {self._group}"
            self._failed = translated(error, f"{where}: wanted to read and commit")

    def _raise_if_failed(self) -> None:
        if self._heard.fatal is not None:
            self._note(self._heard.fatal)
        if self._failed is not None:
            raise self._failed
