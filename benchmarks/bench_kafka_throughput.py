"""Catching up on a filled topic: the reduced and the whole job beside the echo and the peers.

The reduced job makes customer windows (1, 7 and 30 days, count and mean), topic to topic; ours is
the score job with a pipeline of those six features. The whole job is the fraud pipeline, labels,
learn job and all. An echo emits records as long as those of the job before it. Everything is on
this one machine, the broker too; contenders take turns, and a figure is the median of the runs.
A new broker's compiler takes up to a sixth of the machine, so it first carries a turn of ours and
of the echoes that does not count. Features are compared with the exact ones, once for each
contender.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.catching_up import Rate, differing, fill, rate
from benchmarks.peers.start import PEERS, peer
from benchmarks.prove import ROOT
from jobs.config import Settings
from jobs.kafka_host.score_job import ScoreJob
from jobs.load.bench import Traffic, supply
from jobs.load.clients import connection
from jobs.load.generator import Target
from jobs.load.stand import echo_topics, job_topics, own_broker, own_echo, own_jobs
from jobs.load.topics import made
from jobs.load_pipeline import load_pipeline
from streams.topics import LABELS, TRANSACTIONS

RUNS, RIVAL_RUNS = 5, 3
SECONDS = 8.0
"""After so long a contender that has not worked all off is stopped."""
COMPARED = 30_000
WARM, PROFILED = 20_000, 200_000
REDUCED = str(ROOT / "benchmarks" / "windows_pipeline.py")


class Contender(NamedTuple):
    """What is measured, and on how much."""

    events: int
    each: int = 1
    """Records of output to an event."""
    windows: bool = True
    """Whether it makes the features that are compared."""


CONTENDERS = {
    "headrace, reduced": Contender(1_000_000),
    "echo of its length": Contender(1_000_000, windows=False),
    "headrace, whole": Contender(1_000_000, windows=False),
    "echo of that length": Contender(1_000_000, windows=False),
    "Quix Streams": Contender(200_000),
    "Quix sliding windows": Contender(30_000, each=3),
    "PyFlink": Contender(200_000),
    "Flink SQL": Contender(200_000),
    "Faust": Contender(30_000),
}


def run() -> dict[str, Any]:
    """Events a second by contender, CPU by process, and how many features are not exact."""
    rates: dict[str, list[Rate]] = {name: [] for name in CONTENDERS}
    wrong: dict[str, tuple[int, int]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="headrace-bench-")))
        settings, processes = stack.enter_context(own_broker(folder, Settings()))
        for place in range(-1, RUNS):
            size = 0
            for name, contender in CONTENDERS.items():
                if name in PEERS and not 0 <= place < RIVAL_RUNS:
                    continue
                slug = f"{place}-{name.replace(' ', '-').replace(',', '')}"
                own = replace(settings, prefix=f"{slug}.", state=folder / slug)
                with _started(name, own, processes, size) as target:
                    measured = rate(own, target, contender.events, SECONDS, contender.each)
                    if contender.windows and name not in wrong:
                        wrong[name] = differing(own, target, COMPARED)
                size = round(measured.bytes)
                if place < 0:
                    continue
                rates[name].append(measured)
                print(f"{name}: {measured.events_per_s:,.0f} events/s", flush=True)
        spent = {
            name: _parts(replace(settings, prefix=f"{slug}.", state=folder / slug, pipeline=path))
            for name, slug, path in (
                ("reduced", "profile-a", REDUCED),
                ("whole", "profile-b", "fraud"),
            )
        }
    rows = {name: _row(rates[name], wrong.get(name)) for name in CONTENDERS}
    return {"contenders": rows, "microseconds": spent}


def _parts(settings: Settings) -> dict[str, float]:
    """Microseconds of processor time an event in each part of the score job, in one thread."""
    source = settings.topic(TRANSACTIONS)
    with made(connection(settings), job_topics(settings)):
        labels = settings.topic(LABELS)
        fill(supply(settings, source, Traffic()), source, PROFILED, labels)
        pipeline = load_pipeline(settings.pipeline)
        job = ScoreJob(pipeline, settings.broker(), settings, threads=False)
        try:
            while job.taken["events"] < WARM:
                job.step(0.1)
            before, spent = job.taken["events"], defaultdict[str, float](float)
            for owner, method, part in _timed_of(job):
                _time(owner, method, part, spent)
            began = time.thread_time()
            while job.taken["events"] < PROFILED:
                job.step(0.1)
            whole = time.thread_time() - began
        finally:
            job.close()
    # What is made into records is handed over within the same call.
    spent["records made"] -= spent["records handed to the client"]
    spent["the rest"] = whole - sum(spent.values())
    events = (job.taken["events"] - before) / 1e6
    return {part: seconds / events for part, seconds in spent.items()}


def _timed_of(job: Any) -> list[tuple[Any, str, str]]:
    """The methods that a batch goes through, in order, and what they are told as."""
    delivery = job._delivery  # noqa: SLF001 - a profile looks inside
    return [
        (job._consumer, "poll", "read"),  # noqa: SLF001
        (job._merge, "take", "merged"),  # noqa: SLF001
        (job._decoder, "decode", "decoded"),  # noqa: SLF001
        (job.scoring, "process", "features and scores"),
        (job._journal, "append", "journal"),  # noqa: SLF001
        (job, "_send", "records made"),
        (delivery._producer, "send", "records handed to the client"),  # noqa: SLF001
        (delivery, "turn", "answers heard"),
    ]


def _time(owner: Any, method: str, part: str, spent: defaultdict[str, float]) -> None:
    """Count the seconds in a method of this one object."""
    call = getattr(owner, method)

    def timed(*arguments: Any, **named: Any) -> Any:
        began = time.thread_time()
        try:
            return call(*arguments, **named)
        finally:
            spent[part] += time.thread_time() - began

    setattr(owner, method, timed)


@contextmanager
def _started(
    name: str, settings: Settings, processes: Mapping[str, int], size: int
) -> Iterator[Target]:
    """The contender, started on topics that were filled before."""
    n = CONTENDERS[name].events
    echoes = name.startswith("echo")
    with ExitStack() as stack:
        topics = echo_topics(settings) if echoes else job_topics(settings)
        stack.enter_context(made(connection(settings), topics))
        source = next(iter(topics)) if echoes else settings.topic(TRANSACTIONS)
        whole = name == "headrace, whole"
        labels = settings.topic(LABELS) if whole else ""
        fill(supply(settings, source, Traffic()), source, n, labels)
        if echoes:
            started = own_echo(settings.state, settings, processes, size)
        elif name in PEERS:
            started = peer(name, settings, source, processes)
        else:
            settings = replace(settings, pipeline="fraud" if whole else REDUCED)
            started = own_jobs(settings.state, settings, processes, learns=whole)
        yield stack.enter_context(started)


def _row(rates: list[Rate], wrong: tuple[int, int] | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "events_per_s": statistics.median(each.events_per_s for each in rates),
        "slowest": min(each.events_per_s for each in rates),
        "fastest": max(each.events_per_s for each in rates),
        "bytes": rates[0].bytes,
        "cpu": {name: statistics.median(each.cpu[name] for each in rates) for name in rates[0].cpu},
    }
    return row | ({"differing": wrong[0], "compared": wrong[1]} if wrong else {})


def show(result: dict[str, Any]) -> None:
    """Print the result of `run`."""
    rows = result["contenders"]
    found = Table(title="Catching up on a filled topic, one partition")
    for heading in ("", "events/s", "range", "bytes", "× echo", "not exact", "CPU"):
        found.add_column(heading, justify="left" if heading in {"", "CPU"} else "right")
    rates = {name: row["events_per_s"] for name, row in rows.items()}
    floors = {
        "headrace, whole": "echo of that length",
        "echo of that length": "echo of that length",
    }
    for name, row in rows.items():
        floor = rates[floors.get(name, "echo of its length")]
        found.add_row(
            name,
            f"{row['events_per_s']:,.0f}",
            f"{row['slowest']:,.0f}–{row['fastest']:,.0f}",
            f"{row['bytes']:,.0f}",
            f"{row['events_per_s'] / floor:.2f}",
            f"{row['differing']:,} of {row['compared']:,}" if "differing" in row else "",
            ", ".join(f"{process} {share:.0%}" for process, share in row["cpu"].items()),
        )
    console = Console(width=140)
    console.print(found)
    for name, spent in result["microseconds"].items():
        told = ", ".join(f"{what} {microseconds:.2f}" for what, microseconds in spent.items())
        what = f"the score job, {name}, µs of processor time an event"
        console.print(f"{what}: {told}", highlight=False)
    best = max((name for name in rates if name in PEERS), key=rates.__getitem__)
    times = rates["headrace, reduced"] / rates[best]
    console.print(f"the reduced job is {times:.1f} times as fast as the best peer, {best}")


if __name__ == "__main__":
    show(run())
