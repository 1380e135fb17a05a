"""One owner a group: who is in it, and who goes when there are two.

An owner is a *static* member of its group, named after its host and state folder, or by a name that
only one can have. So the coordinator knows that the group is owned; a successor with the same name
takes a dead process's place at once, which is sound because only one process can hold the folder's
lock; and commits of whoever was displaced are refused. A member of another name is refused before
it joins. Two that join at the same time find each other afterwards: the one that the coordinator
shows as begun first stays.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import time
import warnings
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from streams.errors import InputError, StateError
from streams.kafka.cluster import COORDINATE_S, Cluster
from streams.kafka.settings import SESSION_MS

PATIENCE_S = 5.0
"""How long a running owner waits for an elder that has come back to go again."""
REACH_S = 2.0
"""How long the broker may take to answer a question about the group."""
LEAVE_MS = 1500
_LAST = "~"
_SUFFIX = 37


class _Member(NamedTuple):
    begun: str
    """When its process began, as text that sorts by time; after all times if it does not say."""
    instance: str
    who: str


class Membership:
    """The wish of one owner to have a group for itself; without a name none is taken for it.

    A path is told apart by the host that it is on; any other name is the same everywhere.
    """

    def __init__(self, cluster: Cluster, group: str, owner: str) -> None:
        self.group = group
        if not owner or Path(owner).is_absolute():
            owner = f"{socket.gethostname()}:{owner or os.getpid()}"
        self._cluster = cluster
        self._owner = owner
        self._instance = f"headrace-{hashlib.sha256(owner.encode()).hexdigest()[:16]}"
        name = cluster.settings["client.id"]
        begun = datetime.now(UTC).isoformat(timespec="microseconds")
        self._client = f"{name} of {owner} since {begun}"
        self._was_sole = False
        self._contested_since: float | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What a consumer is to be opened with."""
        return {
            "group.id": self.group,
            "group.instance.id": self._instance,
            "client.id": self._client,
        }

    def want_free(self) -> None:
        """Raise StateError if a member of another name is in the group."""
        for other in self._others(self._members(COORDINATE_S)):
            raise self._refused(other)

    def is_sole(self, *, lost: bool) -> bool:
        """Whether the group is ours, now that we have joined; False is to be asked again.

        `lost`: whether the coordinator had given us up in between. Raises StateError if it is
        another's.
        """
        try:
            members = self._members(0.0)
        except InputError:  # The broker is away.
            return False
        others = self._others(members)
        mine = min((each for each in members if each.instance == self._instance), default=None)
        if not members:  # The coordinator has not read yet who was in its groups.
            return False
        if not others:
            self._was_sole, self._contested_since = True, None
            return True
        first = min(others)
        if mine is None or lost or first < mine:
            now = time.monotonic()
            self._contested_since = self._contested_since or now
            if lost or not self._was_sole or now > self._contested_since + PATIENCE_S:
                raise self._refused(first)
            return False
        return True

    def leave(self, member: str) -> None:
        """Take a member out, so that an owner of another name need not wait for its session's end.

        librdkafka lets no static member leave, so the other client is asked to. `member` is the
        coordinator's name for it: one that was taken over in the meantime is left in peace.
        """
        if not self._cluster.answers(REACH_S):
            return
        try:
            from kafka import KafkaAdminClient  # noqa: PLC0415 - an optional extra
            from kafka.admin import MemberToRemove  # noqa: PLC0415
            from kafka.errors import KafkaError  # noqa: PLC0415
        except ImportError:
            return
        logging.getLogger("kafka").addHandler(logging.NullHandler())
        with suppress(KafkaError):
            asked = KafkaAdminClient(
                bootstrap_servers=self._cluster.bootstrap.split(","),
                request_timeout_ms=LEAVE_MS,
                bootstrap_timeout_ms=LEAVE_MS,
                **self._cluster.security.kafka_python(),
            )
            removed = MemberToRemove(member_id=member, group_instance_id=self._instance)
            asked.remove_group_members(self.group, [removed])
            asked.close()

    def _members(self, patience: float) -> list[_Member]:
        found = self._cluster.result(self._listed, patience)
        return [_member(each) for group in found for each in group.members]

    def _listed(self) -> list[Any]:
        """The group as each broker knows it, which only its coordinator does.

        `describe_consumer_groups` looks for the coordinator by itself, and librdkafka 2.16 aborts
        the process when the connection breaks meanwhile (confluentinc/librdkafka#4605).
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            found: list[Any] = self._cluster.admin.list_groups(self.group, timeout=REACH_S)
        return found

    def _others(self, members: list[_Member]) -> list[_Member]:
        return [each for each in members if each.instance != self._instance]

    def displaced(self) -> StateError:
        """What to raise when the coordinator has given our place to another of our name."""
        return StateError(
            f"group {self.group}: wanted to stay in it, but another process took over as "
            f"{self._owner}; stop one of the two, or give them state folders of their own"
        )

    def _refused(self, other: _Member) -> StateError:
        return StateError(
            f"group {self.group}: wanted it alone, but {other.who} owns it; stop that process or "
            f"name another group (one that was killed counts as alive for {SESSION_MS // 1000} s)"
        )


def _member(listed: Any) -> _Member:
    """A member; the coordinator names one after its instance, if it has one, and a UUID."""
    client, host = listed.client_id, listed.client_host.lstrip("/")
    _, since, begun = client.rpartition(" since ")
    return _Member(begun if since else _LAST, listed.id[:-_SUFFIX], f"{client!r} at {host}")
