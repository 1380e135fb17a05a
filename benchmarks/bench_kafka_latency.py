"""From the intended send to the prediction, learning and snapshots on, beside the echo.

The whole fraud pipeline with its learn job; labels come, examples are learnt, versions change.
Broker, jobs and load generator share this one machine. Runs of the job and of the echo, which emits
records as long, take turns; a figure is the median of the runs. Runs whose sender was more than
15 ms late are repeated, and counted.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console

from jobs.config import Settings
from jobs.load.bench import Traffic, opened
from jobs.load.generator import Load
from jobs.load.report import processes, summary, table
from jobs.load.results import Measured
from jobs.load.rounds import alternate

RUNS = 7
HISTORY = 150_000
LOADS = (
    Load(rate=1_000, seconds=6),
    Load(rate=5_000, seconds=6),
    Load(rate=10_000, seconds=6),
    Load(rate=10_000, seconds=10, warm=5, arrivals="burst"),
)


def run() -> dict[str, Any]:
    """Milliseconds by load and target, and what each process used."""
    found = {}
    with opened(Settings(), Traffic(history=HISTORY), fresh=True) as ready:
        for load in LOADS:
            targets = [ready.headrace, ready.echo]
            found[titled(load)] = summary(alternate(ready.generator, targets, load, RUNS, say))
    return found


def titled(load: Load) -> str:
    """The load in words."""
    return f"{load.rate:,.0f} events/s, {load.arrivals}"


def say(name: str, run: Measured) -> None:
    """Print a run while the others go on."""
    told = "  ".join(f"{which} {value:.2f}" for which, value in run.latency_ms.items())
    print(f"{name:>24}  {told} ms{'  late' if run.late else ''}", flush=True)


def show(result: dict[str, Any]) -> None:
    """Print the result of `run`."""
    console = Console(width=130)
    for title, found in result.items():
        console.print(table(found, title))
        ours, echo = found["headrace"], found["echo"]
        for what in ("latency_ms", "burst_ms"):
            if what in ours:
                times = {name: value / echo[what][name] for name, value in ours[what].items()}
                told = ", ".join(f"{name} {each:.2f}" for name, each in times.items())
                where = " in bursts" if what == "burst_ms" else ""
                console.print(f"headrace / echo{where}: {told}", highlight=False)
    console.print(processes(found))


if __name__ == "__main__":
    show(run())
