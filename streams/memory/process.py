"""A process as the cluster sees it: one that asks, and that ends at once or not at all."""

from __future__ import annotations

from typing import Protocol

from streams.memory.cluster import Cluster, Crash

TRY_SECONDS = 0.001
"""How long a client waits before it asks again."""


class Client(Protocol):
    """A consumer or producer of a process."""

    def abandon(self) -> None:
        """The process has ended; what was under way may still arrive."""


class Process:
    """A process that may end at any call of its clients. `name` is what faults know it by."""

    def __init__(self, cluster: Cluster, name: str = "") -> None:
        self.cluster = cluster
        self.name = name
        self.dead = False
        self._clients: list[Client] = []

    def open(self, client: Client) -> None:
        """One more client."""
        self._clients.append(client)

    def crash(self) -> None:
        """End: what was sent may still arrive, and every later call is a Crash."""
        if not self.dead:
            self.dead = True
            for client in self._clients:
                client.abandon()

    def ask(self, operation: str, count: int = 1) -> int:
        """How many of `count` go through now."""
        if self.dead:
            raise Crash
        try:
            self.cluster.settle()
            return self.cluster.faults(self.name, operation, count)
        except Crash:
            self.crash()
            raise

    def insist(self, operation: str) -> None:
        """Ask until it goes through."""
        while not self.ask(operation):
            self.wait()

    def wait(self, seconds: float = TRY_SECONDS) -> None:
        """Let time pass before asking again."""
        self.cluster.clock.sleep(seconds)
