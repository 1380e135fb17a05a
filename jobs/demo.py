"""`headrace demo`: simulated card traffic through the whole loop, watched live."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from jobs import fraud
from jobs.definition import Pipeline
from jobs.interrupt import interruptible
from jobs.live import SOFT, Watch
from jobs.local import LocalRun
from jobs.meter import Meter
from jobs.pipeline import Flow
from jobs.summary import write_summary
from models.river import River
from streams.batch import Batch
from streams.errors import DeadLetter
from streams.simulation.simulator import Simulation
from streams.simulation.traffic import Traffic

OUT = Path("out/demo")
TITLE = "Headrace demo"
BATCH, SINGLES = 1024, 4
"""Records in a batch, and how many come one by one after it, to see what an event alone takes."""
REFRESH = 0.25
EVERY = 5.0
"""Seconds between views, and between lines where there is no terminal."""
HIGH = 40
"""Rows of the view that a demo ends with."""
KEPT_PARTS = 120
"""Parts of the predictions that a demo without end keeps: one is written every few seconds."""


def world(seed: int) -> Traffic:
    """Small enough that a minute sees months go by, with all that goes wrong in transport."""
    return Traffic(
        customers=2_500,
        terminals=5_000,
        per_day=5_000,
        seed=seed,
        disorder=0.02,
        late=0.001,
        duplicates=0.005,
        conflicts=0.0005,
    )


def pipeline() -> Pipeline:
    """The shipped fraud pipeline, with River's logistic regression as challenger if installed."""
    if find_spec("river") is None:
        return fraud.pipeline
    from river import linear_model, preprocessing  # noqa: PLC0415 - an optional extra

    challenger = River(preprocessing.StandardScaler() | linear_model.LogisticRegression())
    return replace(fraud.pipeline, challengers={"River": challenger})


@dataclass
class Paced:
    """Simulated traffic in batches, after each a few records one by one; never above `rate`."""

    simulation: Simulation
    rate: float | None = None

    @property
    def total_rows(self) -> int | None:
        return self.simulation.total_rows

    def topic(self, partition: int) -> str:
        return self.simulation.topic(partition)

    def __iter__(self) -> Iterator[tuple[Batch, list[DeadLetter]]]:
        batch = BATCH if self.rate is None else max(min(BATCH, int(self.rate / 20)), 1)
        began = time.monotonic()
        while True:
            for size in (batch, *[1] * SINGLES):
                rows = self.simulation.batch(size)
                if not len(rows):
                    return
                if self.rate is not None:
                    early = self.simulation.row / self.rate - (time.monotonic() - began)
                    time.sleep(max(early, 0.0))
                yield rows, []

    def state(self) -> bytes:
        return self.simulation.state()

    def restore(self, state: bytes) -> None:
        self.simulation.restore(state)


def demo(
    *,
    seconds: float = 60.0,
    forever: bool = False,
    rate: float | None = None,
    seed: int = 0,
    out: Path = OUT,
    traffic: Traffic | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Run simulated traffic through the fraud pipeline, watched live; what metrics.json holds.

    It ends after `seconds`, or with `forever` at Ctrl-C only; both ways the summary and the report
    in `out` are whole. `rate` is in records a second; by default as fast as it goes. `traffic` is
    another world than `world(seed)`; one that ends is seen to its end, whatever the time.
    """
    console = console or Console()
    flow, traffic = pipeline(), traffic or world(seed)
    with console.status("warming up"):
        _warm(flow)
    endless = forever or traffic.expected_rows is not None
    source = Paced(Simulation(traffic), rate)
    run = LocalRun(flow, source, out)
    meter = Meter()
    watch = Watch(run, meter, f"{TITLE}: simulated card payments, scored and learnt from")
    with interruptible() as interrupt, _shown(watch, console) as show:
        for step in run:
            meter.take(step)
            watch.take(step)
            show(meter.seconds, None if endless else seconds)
            if interrupt.asked or (not endless and meter.seconds >= seconds):
                break
            if forever:
                _drop_oldest(out)
    run.finish()
    subtitle = (
        f"Simulated card payments, seed {traffic.seed}: every score made before its label came."
    )
    metrics = write_summary(run, meter, title=TITLE, subtitle=subtitle)
    _conclude(watch, console, out, f"ended after {meter.seconds:.0f} s")
    return metrics


def _warm(flow: Pipeline) -> None:
    """Compile what compiles at its first call, on a month of a few payments."""
    with tempfile.TemporaryDirectory() as folder:
        few = Traffic(customers=10, terminals=20, per_day=40, days=30, fraud_rate=0.1)
        once = Flow(flow, Path(folder))
        for batch, _ in Simulation(few, 256):
            once.process(batch)


@contextmanager
def _shown(watch: Watch, console: Console) -> Iterator[Callable[[float, float | None], None]]:
    """A view on a terminal, a line now and then elsewhere; call what it gives after each step."""
    every = REFRESH if console.is_terminal else EVERY
    due = every

    def lines(elapsed: float, _end: float | None) -> None:
        nonlocal due
        if elapsed >= due:
            due = elapsed + every
            console.print(watch.line(), highlight=False, soft_wrap=True)

    if not console.is_terminal:
        yield lines
        return
    with Live(console=console, auto_refresh=False, screen=True) as live:

        def view(elapsed: float, end: float | None) -> None:
            nonlocal due
            if elapsed >= due:
                due = elapsed + every
                left = ", Ctrl-C ends it" if end is None else f" of {end:.0f} s"
                width, height = console.size
                shown = watch.view(f"{elapsed:.0f} s{left}", width=width, height=height)
                live.update(shown, refresh=True)

        yield view


def _drop_oldest(out: Path) -> None:
    """Keep the newest parts of the predictions only, for a disk is not without end."""
    for part in sorted(out.glob("*.parquet.parts/*.parquet"))[:-KEPT_PARTS]:
        part.unlink()


def _conclude(watch: Watch, console: Console, out: Path, clock: str) -> None:
    """What it came to, where it is written and what to run next."""
    console.print(watch.view(clock, width=console.width, height=HIGH))
    rows = (
        ("report", f"{out / 'report.html'}"),
        ("predictions", f"{out / 'predictions.parquet'}"),
        ("numbers", f"{out / 'metrics.json'}, {out / 'ledger.json'}"),
        ("your data", "uv run headrace replay FILE... --out DIR"),
        ("your pipeline", "uv run headrace init DIR"),
    )
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style=SOFT)
    for row in rows:
        grid.add_row(*row)
    console.print(grid)
