"""What a job keeps of 100,000 keys: its size, checkpoints of it, and going on from it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import msgspec

from benchmarks.catching_up import fill, there
from benchmarks.flink.checkpoints import WAIT_S, Checkpoint, checkpoint, savepoint
from benchmarks.flink.own import OnFlink, Stand, own_flink, started
from jobs.flink_host.order import FlinkOrder
from jobs.load.bench import Traffic, supply
from jobs.load.clients import connection, consumer
from jobs.load.generator import Generator, Load
from jobs.load.stand import job_topics
from jobs.load.topics import made
from jobs.load.usage import usage
from jobs.stack.flink import Flink
from streams.topics import TRANSACTIONS

KEYS = 50_000
"""Of each of the two entities."""
EVENTS = 600_000
PER_DAY = 50_000.0
"""Every id is still remembered at the end."""
NEVER_MS = 3_600_000
"""Checkpoints are taken when they are asked for."""
LOAD = Load(rate=5_000, seconds=10, warm=0, wait=3)
REPEATED = 3
"""How often each kind of checkpoint is taken."""


def state(stand: Stand, _: int) -> dict[str, Any]:
    """Bytes by operator, seconds and bytes of checkpoints, seconds until a job goes on."""
    own = stand.apart("state")
    traffic = Traffic(per_day=PER_DAY, customers=KEYS, terminals=KEYS)
    # Flink tells by task what is in a checkpoint: every operator is to be one.
    order = FlinkOrder(checkpoint_ms=NEVER_MS, apart=True)
    source = own.topic(TRANSACTIONS)
    with ExitStack() as stack:
        stack.enter_context(made(connection(own), job_topics(own)))
        fill(supply(own, source, traffic), source, EVENTS)
        flink = stack.enter_context(own_flink(own.state))
        resident = {"empty": _resident(flink)}
        job = started(flink, own, stand.processes, "a job with nothing", order)
        with closing(consumer(connection(own))) as asked:
            there(asked, job.target, EVENTS)
        resident["full"] = _resident(flink)
        full = [checkpoint(job.cluster, job.job, "FULL") for _ in range(REPEATED)]
        _say("full checkpoints", full)
        generator = stack.enter_context(Generator(supply(own, source, traffic)))
        generator.settle(job.target)
        under_load = [_under_load(generator, job) for _ in range(REPEATED)]
        _say("checkpoints under load", under_load)
        began = time.monotonic()
        place = job.cluster.stop(job.job, None, WAIT_S)
        stopped, kept = time.monotonic() - began, savepoint(job.cluster, job.job)
        resumed = {}
        for name in ("savepoint", "checkpoint"):
            began = time.monotonic()
            order = msgspec.structs.replace(order, savepoint=place)
            job = started(flink, own, stand.processes, f"a job from a {name}", order)
            at_work = time.monotonic() - began
            generator.settle(job.target)
            resumed[name] = {"at_work_s": at_work, "predicts_s": time.monotonic() - began}
            print(f"{job.target.name}: {resumed[name]}", flush=True)
            place = checkpoint(job.cluster, job.job, "FULL").place
            job.end()
    return {
        "kept": {
            "windows-customer": KEYS,
            "windows-terminal": KEYS,
            "index": EVENTS + round(REPEATED * LOAD.rate * LOAD.seconds),
        },
        "savepoint": {
            "seconds": stopped,
            "bytes": kept.bytes,
            "operators": kept.operators,
        },
        "full": _row(full),
        "under_load": _row(under_load) | {"rate": LOAD.rate, "every_s": LOAD.seconds},
        "resumed": resumed,
        "resident": resident,
    }


def _under_load(generator: Generator, job: OnFlink) -> Checkpoint:
    """An incremental checkpoint of what has changed in ten seconds, while events still come."""

    def take() -> Checkpoint:
        time.sleep(LOAD.seconds / 2)
        return checkpoint(job.cluster, job.job, "CONFIGURED")

    with ThreadPoolExecutor(1) as beside:
        taken = beside.submit(take)
        generator.run(job.target, LOAD)
        return taken.result()


def _say(what: str, taken: Sequence[Checkpoint]) -> None:
    told = ", ".join(f"{each.seconds:.2f} s {each.bytes / 1e6:,.1f} MB" for each in taken)
    print(f"{what}: {told}", flush=True)


def _row(taken: Sequence[Checkpoint]) -> dict[str, float]:
    return {
        "seconds": statistics.median(each.seconds for each in taken),
        "slowest": max(each.seconds for each in taken),
        "bytes": statistics.median(each.bytes for each in taken),
        "whole": statistics.median(each.whole for each in taken),
        "runs": len(taken),
    }


def _resident(flink: Flink) -> int:
    """Bytes of memory that the TaskManager holds."""
    return usage(flink.processes[0].pid or 0).rss_bytes
