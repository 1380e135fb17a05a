"""Fault schedules: both jobs and a broker in one process, everything that happens drawn by a seed.

    python -m benchmarks.proofs.schedules --seed 7

plays the schedule of that seed once more and says what happens.
"""

from __future__ import annotations

import gc
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import click

from benchmarks.proofs.proof import BrokenError, Proof, Record
from benchmarks.proofs.simulated.actor import Say
from benchmarks.proofs.simulated.schedule import Schedule

AT_ONCE = 100
PROCESSES = 2
MEMORY = Path("/dev/shm")  # noqa: S108  files there cost no disk; a folder of our own is made in it


def silent(_: str) -> None:
    """Say nothing."""


def play(seed: int, folder: Path, say: Say = silent) -> Record:
    """Play one schedule in a new folder; BrokenError names the seed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        return Schedule(seed, folder, say).run()
    except Exception as error:  # noqa: BLE001  whatever it is, its seed must be said
        said = "".join(traceback.format_exception(error))
        again = f"python -m benchmarks.proofs.schedules --seed {seed}"
        raise BrokenError(f"schedule {seed} does not hold: {again}\n{said}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def room() -> Path:
    """Where folders are made: in memory where that is possible."""
    return MEMORY if MEMORY.is_dir() else Path(tempfile.gettempdir())


@contextmanager
def frozen() -> Iterator[None]:
    """Let the collector, which runs at every crash, pass over all that was there before."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def several(seeds: Sequence[int]) -> Record:
    """Play schedules one after the other; what they found, added up."""
    began = time.process_time()
    total: Counter[str] = Counter()
    struck: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(dir=room()) as name, frozen():
        for seed in seeds:
            found = play(seed, Path(name) / "schedule")
            struck.update(found.pop("struck"))
            total.update(found)
    return {
        "seeds": [seeds[0], seeds[-1]],
        "schedules": len(seeds),
        **total,
        "crashes": struck.total(),
        "struck": dict(struck.most_common()),
        "cpu_seconds": round(time.process_time() - began, 2),
    }


def steps(count: int, done: Sequence[Record], _: Path) -> Iterator[Record]:
    """So many schedules a step, in as many processes as there are cores for."""
    first = sum(each["schedules"] for each in done)
    cuts = [range(at, min(at + AT_ONCE, count)) for at in range(first, count, AT_ONCE)]
    pool = ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn"))
    try:
        yield from pool.map(several, cuts)
    finally:
        pool.shutdown(cancel_futures=True)


def figures(records: Sequence[Record]) -> Record:
    """All schedules together."""
    struck: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for each in records:
        struck.update(each["struck"])
        total.update({k: v for k, v in each.items() if k not in ("seeds", "struck")})
    return {"count": total.pop("schedules"), **total, "struck": dict(struck.most_common())}


SCHEDULES = Proof(
    "the score job, the learn job and a broker in memory, under seeded schedules that delay and "
    "crash them: ledger exact, nothing lost, nothing twice but byte-equal repeats, features, "
    "scores and versions those of an undisturbed run over the same order, to the bit",
    10_000,
    "schedules",
    steps,
    figures,
)


@click.command()
@click.option("--seed", type=int, required=True)
@click.option("--times", type=int, default=1, help="Play so many, from this seed on, silently.")
def main(seed: int, times: int) -> None:
    """Play the schedule of a seed and say what happens."""
    if times > 1:
        print(several(range(seed, seed + times)))
        return
    with tempfile.TemporaryDirectory(dir=room()) as name:
        print(play(seed, Path(name) / "schedule", partial(print, flush=True)))


if __name__ == "__main__":
    sys.exit(main())
