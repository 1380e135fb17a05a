"""The cluster as a whole: whether it answers, and what topics there are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from streams.errors import InputError
from streams.kafka.failures import DECISIVE, translated
from streams.kafka.library import Error, Failure, admin, client, in_background, open_client
from streams.kafka.security import Security
from streams.kafka.settings import CONNECTION

ANSWER_S = 10.0
"""How long a broker may take to answer before it counts as unreachable."""
SLICE_S = 0.5
RETRY_S = 0.1
COORDINATING = frozenset(
    {
        Error.NOT_COORDINATOR,
        Error.COORDINATOR_NOT_AVAILABLE,
        Error.COORDINATOR_LOAD_IN_PROGRESS,
        Error._TIMED_OUT,
    }
)
COORDINATE_S = 45.0


class Heard:
    """What a client's connections last complained of."""

    def __init__(self) -> None:
        self.fatal: Any = None
        """An error after which the client is of no use."""
        self.connection: Any = None
        """The last reason why a broker could not be spoken to."""

    def __call__(self, error: Any) -> None:
        if error.fatal() or error.code() == Error._FATAL:
            self.fatal = self.fatal or error
        elif error.code() != Error._ALL_BROKERS_DOWN:
            self.connection = error


class Described(NamedTuple):
    """What a topic is."""

    id: str
    """The broker's own: another one than before means that the topic was made anew."""
    partitions: int


class Cluster:
    """A cluster by its addresses. Nothing is asked until something is wanted of it."""

    def __init__(self, bootstrap: str, security: Security | None, name: str) -> None:
        self.bootstrap = bootstrap
        self.security = security or Security()
        self.settings = {
            "bootstrap.servers": bootstrap,
            "client.id": name,
            **self.security.librdkafka(),
            **CONNECTION,
        }
        self._heard = Heard()
        self._admin: Any = None

    def reach(self) -> None:
        """Raise InputError if the cluster does not answer, ConfigError if it lets us not in."""
        _ = self.admin

    @property
    def admin(self) -> Any:
        """An admin client of a cluster that has answered once.

        Raises InputError if it does not answer, ConfigError if it does not let us in.
        """
        if self._admin is None:
            opened = open_client(admin.AdminClient, self.settings, self._heard)
            self._topics(opened)
            self._admin = opened
        return self._admin

    def answers(self, timeout: float) -> bool:
        """Whether the cluster does so within that many seconds."""
        try:
            self.admin.list_topics(timeout=timeout)
        except Failure:
            return False
        return True

    def partitions(self, topics: Sequence[str]) -> Mapping[str, int]:
        """How many partitions each topic has; InputError naming those that do not exist."""
        known = self._topics(self.admin)
        missing = [topic for topic in topics if topic not in known]
        if missing:
            raise InputError(
                f"{self.bootstrap}: wanted topics {', '.join(topics)}, got none named "
                f"{', '.join(missing)}; make them with `headrace topics create`"
            )
        return {topic: len(known[topic].partitions) for topic in topics}

    def described(self, topics: Sequence[str]) -> dict[str, Described]:
        """The id and the number of partitions of each topic; InputError for one that is none."""
        return {
            topic: description(self.result(lambda topic=topic: self.ask([topic])[topic].result()))  # type: ignore[misc]
            for topic in topics
        }

    def ask(self, topics: Sequence[str], timeout: float = ANSWER_S) -> dict[str, Any]:
        """Ask what each topic is: futures of answers that `description` reads."""
        futures: dict[str, Any] = self.admin.describe_topics(
            client.TopicCollection(list(topics)), request_timeout=timeout
        )
        return futures

    def reached(self) -> Future[Any]:
        """Ask for anything at all; an exception where there is no answer within SLICE_S."""
        return in_background(lambda: self.admin.list_topics(timeout=SLICE_S))

    def result(self, request: Callable[[], Any], patience: float = COORDINATE_S) -> Any:
        """What is answered to a request; its failure as our error.

        Asked again, for `patience` seconds, while the broker is still finding out who coordinates
        a group, as it does for seconds after its first start.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                return request()
            except Failure as failure:
                error = failure.args[0]
                if error.code() not in COORDINATING or time.monotonic() > deadline:
                    raise translated(error, f"{self.bootstrap}: wanted an answer") from failure
                time.sleep(RETRY_S)

    def _topics(self, asked: Any) -> Mapping[str, Any]:
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                topics: Mapping[str, Any] = asked.list_topics(timeout=SLICE_S).topics
                return topics
            except Failure as failure:
                asked.poll(0)
                reason, what = self._heard.connection, f"{self.bootstrap}: wanted a Kafka broker"
                if reason is not None and reason.code() in DECISIVE:
                    raise translated(reason, what) from failure
                if time.monotonic() > deadline:
                    if reason is not None:
                        raise translated(reason, what) from failure
                    raise InputError(
                        f"{what}, got no answer within {ANSWER_S:.0f} s; check the address, and "
                        "whether the broker wants TLS or a login"
                    ) from failure


def description(answer: Any) -> Described:
    """What the broker says that a topic is."""
    return Described(str(answer.topic_id), len(answer.partitions))
