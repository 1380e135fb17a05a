"""Replays killed by SIGKILL at random instants, gone on with until they end, and compared."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmarks.proofs.proof import BrokenError, Proof, Record
from benchmarks.proofs.sameness import compare
from jobs.simulate import simulate

ROOT = Path(__file__).parents[2]
WORLD: dict[str, Any] = {
    "customers": 1500, "terminals": 600, "per_day": 2500, "fraud_rate": 0.03, "events": 100_000,
}  # fmt: skip
FAULTS: dict[str, Any] = {"disorder": 0.1, "late": 0.01, "duplicates": 0.02, "conflicts": 0.0005}
SCALES = (0.15, 0.5, 1.0)
"""A round's kills come within such a share of what a whole replay takes."""
MOST_KILLS = 10
"""Of one round."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """An input and how it is replayed."""

    suffix: str
    traffic: dict[str, Any]
    ask: dict[str, Any] = field(default_factory=dict)

    def asked(self, file: Path) -> Record:
        """The replay of a file, as the replayer takes it."""
        plain: Record = {"columns": {}, "label_delay": None, "order": "arrival"}
        pace = {"batch_size": 512, "snapshot_seconds": 0.05}
        return plain | pace | {"file": str(file)} | self.ask


ARRIVAL = {
    "ndjson": Scenario(".ndjson", FAULTS | {"garbage": 0.001}),
    "parquet": Scenario(
        ".parquet", FAULTS, {"columns": {"fraud": "fraud"}, "label_delay": "3d"}
    ),
}  # fmt: skip
STRICT = {"strict": Scenario(".ndjson", FAULTS | {"garbage": 0.001}, {"order": "strict"})}


@dataclass(frozen=True, slots=True)
class Kill:
    """When a replay is killed: after so many seconds, or before so many of its file operations."""

    kill_after: float | None = None
    kill_before: int | None = None


class Replayer:
    """The process that forks replays, as `benchmarks.proofs.replayer` says."""

    def __init__(self, say: IO[str], hear: IO[str]) -> None:
        self._say, self._hear = say, hear
        if (line := hear.readline().strip()) != "ready":
            raise RuntimeError(f"wanted 'ready' of the replayer, got {line!r}; see what it printed")

    def replay(self, ask: Record, folder: Path, kill: Kill | None = None) -> bool:
        """Replay into FOLDER/out with FOLDER/state; whether it came to its end before the kill.

        Raises BrokenError if it ends by itself in any other way than well.
        """
        folder.mkdir(parents=True, exist_ok=True)
        line = ask | {"folder": str(folder)} | asdict(kill or Kill())
        self._say.write(json.dumps(line) + "\n")
        self._say.flush()
        status = int(self._hear.readline())
        if status not in (0, -signal.SIGKILL):
            said = (folder / "log").read_text(encoding="utf-8")
            raise BrokenError(f"{folder}: the replay ended with status {status}: {said[-2000:]}")
        return status == 0


@contextmanager
def replayer() -> Iterator[Replayer]:
    """A replayer, ended with the block."""
    command = [sys.executable, "-m", "benchmarks.proofs.replayer"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Replayer(process.stdin, process.stdout)


@dataclass(frozen=True, slots=True)
class Ground:
    """An input, and what an undisturbed replay of it left."""

    ask: Record
    undisturbed: Path
    seconds: float
    """How long that replay took."""
    operations: int
    """How many files it opened, renamed, cut or removed."""

    @classmethod
    def lay(cls, scenario: Scenario, folder: Path, replays: Replayer, **traffic: Any) -> Ground:
        """Simulate the input and replay it."""
        folder.mkdir(parents=True)
        file = folder / f"traffic{scenario.suffix}"
        simulate(file, [], WORLD | scenario.traffic | traffic)
        ask = scenario.asked(file)
        began = time.monotonic()
        replays.replay(ask, folder / "undisturbed")
        seconds = time.monotonic() - began
        operations = int((folder / "undisturbed" / "operations").read_text(encoding="ascii"))
        return cls(ask, folder / "undisturbed" / "out", seconds, operations)

    def round(self, replays: Replayer, folder: Path, kills: Iterator[Kill]) -> Record:
        """Kill a replay again and again until it ends before it is, and compare what it left."""
        struck: Counter[str] = Counter()
        while not replays.replay(self.ask, folder, next(kills, None)):
            struck[where(folder)] += 1
        same = compare(self.undisturbed, folder / "out")
        shutil.rmtree(folder)
        return {"kills": struck.total(), **same, "struck": dict(struck)}


def where(folder: Path) -> str:
    """What a kill interrupted, by the files it left."""
    snapshots, out = folder / "state" / "snapshots", folder / "out"
    if not any(snapshots.glob("*.snapshot")):
        return "before the first snapshot"
    if (out / "predictions.parquet").exists():
        return "after the predictions were made one file"
    if (out / "predictions.parquet.tmp").exists():
        return "while predictions were written"
    if any(snapshots.glob("*.tmp")):
        return "while a snapshot was written"
    return "between snapshots"


Plan = Callable[[Ground, int], Iterator[Kill]]
"""The kills of a round, for a ground and a seed."""


def proof(claim: str, count: int, scenarios: dict[str, Scenario], plan: Plan) -> Proof:
    """The proof that kills change nothing in these scenarios, taken in turn."""

    def steps(count: int, done: Sequence[Record], folder: Path) -> Iterator[Record]:
        left = count - sum(each["kills"] for each in done)
        with replayer() as replays:
            yield from rounds(replays, scenarios, plan, left, folder, first=len(done))

    return Proof(claim, count, "kills", steps, figures)


def rounds(
    replays: Replayer,
    scenarios: dict[str, Scenario],
    plan: Plan,
    count: int,
    folder: Path,
    *,
    first: int = 0,
    **traffic: Any,
) -> Iterator[Record]:
    """Rounds numbered from `first` until there have been so many kills."""
    names = list(scenarios)
    grounds: dict[str, Ground] = {}
    for at in itertools.count(first):
        if count <= 0:
            return
        name = names[at % len(names)]
        if name not in grounds:
            grounds[name] = Ground.lay(scenarios[name], folder / name, replays, **traffic)
        kills = islice(plan(grounds[name], at), min(count, MOST_KILLS))
        record = grounds[name].round(replays, folder / "killed", kills)
        yield {"input": name, **record}
        count -= record["kills"]


def instants(ground: Ground, seed: int) -> Iterator[Kill]:
    """At any instant: in some rounds soon after the start again and again, in others anywhere."""
    rng = np.random.default_rng(seed)
    longest = ground.seconds * rng.choice(SCALES)
    while True:
        yield Kill(kill_after=rng.uniform(0.0, longest))


def operations(ground: Ground, seed: int) -> Iterator[Kill]:
    """Between any two file operations, in the same two ways."""
    rng = np.random.default_rng(seed)
    most = ground.operations * rng.choice(SCALES)
    while True:
        yield Kill(kill_before=1 + int(rng.integers(most)))


def figures(records: Sequence[Record]) -> Record:
    """All rounds together."""
    struck: Counter[str] = Counter()
    for each in records:
        struck.update(each["struck"])
    return {
        "count": struck.total(),
        "replays": len(records),
        "kills_of_one_replay_at_most": max((each["kills"] for each in records), default=0),
        "predictions_compared": sum(each["rows"] for each in records),
        "dead_letters_compared": sum(each["dead_letters"] for each in records),
        "alarms_compared": sum(each["alarms"] for each in records),
        "struck": dict(struck.most_common()),
    }


KILLS = proof(
    "replays killed by SIGKILL at random instants and gone on with leave the same predictions, "
    "dead letters, alarms, metrics and ledger as undisturbed, to the bit: none lost, none twice",
    100,
    ARRIVAL,
    instants,
)
STRICT_KILLS = proof(
    "the same in strict order, with events held back and sorted when the kill comes",
    50,
    STRICT,
    instants,
)
OPERATIONS = proof(
    "the same with kills between file operations, where a crash would tear files apart",
    200,
    {**ARRIVAL, **STRICT},
    operations,
)
