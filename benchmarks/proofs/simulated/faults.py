"""What goes wrong in a schedule, drawn from its seed: delays, outages, where processes end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from streams.memory import Clock, Crash
from streams.memory.producer import ANSWER

ANYWHERE = (
    "open",
    "os.remove",
    "os.rename",
    "os.truncate",
    "os.mkdir",
    "write",
    "join",
    "join answered",
    "open producer",
    "committed",
    "bounds",
    "seek",
    "poll",
    "fetch",
    "send",
    "append",
    "append answered",
    "commit",
    "commit answered",
    "begin",
    "commit positions",
    "close",
    "leave",
)
"""Operations that a crash is aimed at: rare ones as often as frequent ones."""
PATIENCE = 300
"""Operations after which a crash is aimed elsewhere."""
ITSELF = ("adrift", "in flight", "marker")
"""What the cluster does without a process."""


class SeededFaults:
    """Decides by a seed; see `streams.memory.Faults`. `struck` counts what a crash interrupted."""

    def __init__(self, rng: Random, clock: Clock, say: Callable[[str], None]) -> None:
        self.on = True
        self.struck: Counter[str] = Counter()
        self.outages = 0
        self.full_disks = 0
        self._rng = rng
        self._clock = clock
        self._say = say
        self._filling = rng.choice((0.0, 0.0, 0.0, 0.01))
        self._full_until = 0
        self._slow = rng.choice((0.0, 0.1, 0.5))
        self._away = rng.choice((0.0, 0.0, 0.002, 0.01))
        self._away_until = 0
        self._lost = rng.choice((0.0, 0.0, 0.02, 0.2))
        self._crashes = rng.choice((0, 1, 2, 4, 8))
        self._plans: dict[str, tuple[str, int, int]] = {}

    @property
    def crashed(self) -> int:
        """How many crashes there were."""
        return self.struck.total()

    def __call__(self, process: str, operation: str, count: int, /) -> int:
        if not self.on:
            return count
        if operation in ITSELF:
            return self._rng.randint(0, count)
        if operation == ANSWER:
            return count * (self._rng.random() >= self._lost)
        self.reach(process, operation)
        if self._clock() < self._away_until:
            return 0
        if self._rng.random() < self._away:
            lasting = self._rng.randint(1, 50)
            self._say(f"the broker is away for {lasting} ms")
            self.outages += 1
            self._away_until = self._clock() + lasting * 1000
            return 0
        if self._rng.random() < self._slow:
            return self._rng.randint(0, count)
        return count

    def reach(self, process: str, operation: str) -> None:
        """Crash if this is where this process is to end."""
        if not self.on or self.crashed >= self._crashes:
            return
        aim, left, patience = self._plans.get(process) or self._aim()
        if aim in {"", operation}:
            left -= 1
            if not left:
                self.strike(process, operation)
        if patience:
            self._plans[process] = aim, left, patience - 1
        else:
            self._plans.pop(process, None)

    def strike(self, process: str, operation: str) -> None:
        """The process ends here."""
        self.struck[operation] += 1
        self._say(f"{process} crashes at {operation}")
        self._plans.pop(process, None)
        raise Crash

    def _aim(self) -> tuple[str, int, int]:
        """An operation, or any, how many of it are left to the process, and when to aim anew."""
        if self._rng.random() < 0.5:
            return "", self._rng.randint(1, PATIENCE), PATIENCE
        return self._rng.choice(ANYWHERE), self._rng.choice((1, 1, 2, 3, 5, 8)), PATIENCE

    @property
    def full(self) -> bool:
        """Whether the disk is full now."""
        if not self.on:
            return False
        if self._clock() >= self._full_until and self._rng.random() < self._filling:
            lasting = self._rng.randint(1, 200)
            self._say(f"the disk is full for {lasting} ms")
            self.full_disks += 1
            self._full_until = self._clock() + lasting * 1000
        return self._clock() < self._full_until

    def part(self, count: int) -> int:
        """How much of something is done when a process ends in its midst."""
        return self._rng.randint(0, count)
