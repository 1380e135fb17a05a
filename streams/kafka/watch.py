"""Whether the broker answers, and topics are still those that were opened.

librdkafka waits for a deleted topic without end, and goes on in one that was made anew at the old
place, should there be records already.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from streams.errors import HeadraceError
from streams.kafka.cluster import Cluster, description
from streams.kafka.failures import GONE
from streams.kafka.library import Failure

EVERY_S = 1.0
ANSWER_S = 1.0
"""How long an answer may take. A question that waits for a broker that is away costs a core."""
SILENT_S = 3.0
"""A broker that has not answered for so long is away."""


class Watch:
    """Asks after some topics again and again, without waiting for the answer.

    librdkafka tries to reach a broker that is away without a pause while such a question waits. So
    once one was not answered the next is put off until something that it waits for in peace was.
    InputError, when it is made, if a topic does not exist.
    """

    def __init__(self, cluster: Cluster, topics: Sequence[str], kind: type[HeadraceError]) -> None:
        self._cluster, self._kind = cluster, kind
        self.known = cluster.described(topics)
        self._wrong: HeadraceError | None = None
        self._asked: dict[str, Any] = {}
        self._reached: Future[Any] | None = None
        """Whether anything is answered at all, where that is in doubt."""
        self._answered = time.monotonic()
        self._due = self._answered + EVERY_S
        self.silent = False
        """Whether the broker had not answered for SILENT_S at the last look."""

    def look(self) -> None:
        """Raise an error of the kind if a topic was deleted, made anew or given partitions."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + EVERY_S
        for topic in [topic for topic, answer in self._asked.items() if answer.done()]:
            self._hear(topic, self._asked.pop(topic))
        self.silent = now - self._answered > SILENT_S
        if self._wrong:
            raise self._wrong
        if not self._asked and self._in_reach():
            self._asked = self._cluster.ask(list(self.known), ANSWER_S)

    def _in_reach(self) -> bool:
        """Whether the broker has answered since it last did not; if not, try it."""
        if self._reached is None:
            return True
        if self._reached.done():
            if self._reached.exception() is None:
                self._reached = None
                return True
            self._reached = self._cluster.reached()
        return False

    def _hear(self, topic: str, answer: Any) -> None:
        failed = answer.exception()
        if failed is None or (isinstance(failed, Failure) and failed.args[0].code() in GONE):
            self._answered = time.monotonic()
        elif self._reached is None:
            self._reached = self._cluster.reached()
        self._wrong = self._wrong or self._difference(topic, answer)

    def _difference(self, topic: str, answer: Any) -> HeadraceError | None:
        failed = answer.exception()
        if failed is None:
            found, known = description(answer.result()), self.known[topic]
            if found.id != known.id:
                return self._kind(
                    f"{topic}: wanted the topic that was there, got another of its name: it was "
                    "made anew; begin with a new state folder and a new group"
                )
            if found.partitions != known.partitions:
                return self._kind(
                    f"{topic}: wanted its {known.partitions} partitions, got {found.partitions}; "
                    "start again so that all of them are used"
                )
        elif isinstance(failed, Failure) and failed.args[0].code() in GONE:
            return self._kind(
                f"{topic}: wanted the topic that was there, but it was deleted; make it with "
                "`headrace topics create` and begin with a new state folder and a new group"
            )
        return None
