"""What a job on Flink is submitted with, and the settings of Flink that follow from it."""

from __future__ import annotations

import sys
from typing import Literal

import msgspec

MATERIALIZED = "2 min"
"""How often the state itself is written where its changes are: after a failure no more than these
have to be read."""


class FlinkOrder(msgspec.Struct, frozen=True, kw_only=True):
    """How a job is to run."""

    role: Literal["score", "learn"] = "score"
    name: str = "headrace"
    parallelism: int = 1
    lanes: int = 16
    """Into how many shares keys are divided: the most parallel tasks the job can ever have."""
    memory_mb: int = 1024
    """Of key records at hand in a task; the others are read from its state."""
    checkpoint_ms: int = 30_000
    apart: bool = False
    """Whether operators run in threads of their own even where one task has all lanes."""
    pace_ms: float = 4.0
    """The least time between two batches of a reader, while they are small, if operators run in
    threads of their own: what a batch costs on its way through them is then shared by more
    events."""
    buffer_timeout: str = "0 ms"
    """How long a parcel waits in Flink's output for others; they are batches already."""
    savepoint: str = ""
    """Where to go on from."""
    brought: str = ""
    leaving: str = ""
    """See `jobs.flink_host.plan.Plan`."""
    warm_up: bool = False
    """Whether features that are new may begin short."""
    changelog: str = ""
    """A folder that every change of the state is written to as it is made: a checkpoint then has
    nothing left to write, and stops no operator. Empty: none."""

    @property
    def together(self) -> bool:
        """Whether all operators of the only task run in one thread."""
        return self.parallelism == 1 and not self.apart

    def configuration(self) -> dict[str, str]:
        """Flink's own settings, by name."""
        resumed = {"execution.state-recovery.path": self.savepoint} if self.savepoint else {}
        if self.changelog:
            resumed |= {
                "state.changelog.enabled": "true",
                "state.changelog.storage": "filesystem",
                "state.changelog.dstl.dfs.base-path": self.changelog,
                "state.changelog.periodic-materialize.interval": MATERIALIZED,
                # It cannot begin with a whole snapshot of its own, as a job does that leaves the
                # savepoint to others.
                "execution.state-recovery.claim-mode": "CLAIM",
            }
        return resumed | {
            "python.execution-mode": "thread",
            "python.executable": sys.executable,
            "python.client.executable": sys.executable,
            "execution.buffer-timeout.interval": self.buffer_timeout,
            "execution.checkpointing.interval": f"{self.checkpoint_ms} ms",
            "execution.checkpointing.mode": "EXACTLY_ONCE",
            "execution.checkpointing.incremental": "true",
            # Parcels are addressed to lanes of today's tasks: none may be kept for tomorrow's.
            "execution.checkpointing.unaligned.enabled": "false",
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
            "state.backend.type": "rocksdb",
            "pipeline.object-reuse": "true",
            "pipeline.auto-watermark-interval": "20 ms",
            "restart-strategy.type": "exponential-delay",
            "restart-strategy.exponential-delay.initial-backoff": "1 s",
            "restart-strategy.exponential-delay.max-backoff": "30 s",
            "restart-strategy.exponential-delay.attempts-before-reset-backoff": "20",
        }
