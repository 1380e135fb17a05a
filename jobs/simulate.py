"""Simulated traffic to a file, with progress."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from jobs.progress import Progress
from streams.atomic import write_whole
from streams.errors import ConfigError, OutputError
from streams.simulation.simulator import Simulation
from streams.simulation.traffic import DRIFTS, SHAPES, Drift, Traffic

DAYS = 60.0
_DRIFT = re.compile(
    r"(?P<kind>\w+)@(?P<at>.+?)(?:\.\.(?P<until>.+?))?(?:=(?P<size>\d+(?:\.\d*)?|\.\d+))?"
    rf"(?::(?P<shape>{'|'.join(SHAPES)})(?:/(?P<span>\d+[smhd]))?)?"
)
_LOOK_EVERY = 0.2


def simulate(out: Path, drifts: Sequence[str], options: Mapping[str, Any]) -> Counter[str]:
    """Write traffic to a .parquet or .ndjson file, whole or not at all; what was written, counted.

    `options` are fields of `Traffic`; with neither days nor events it is 60 days. Where there are
    drifts, what they have changed is written beside it, as NAME.scenario.json.
    """
    options = dict(options)
    if options.get("days") is None and options.get("events") is None:
        options["days"] = DAYS
    simulation = Simulation(Traffic(**options, drifts=tuple(map(parse_drift, drifts))))
    writers = {
        ".parquet": simulation.to_parquet,
        ".ndjson": simulation.to_ndjson,
        ".jsonl": simulation.to_ndjson,
    }
    if out.suffix not in writers:
        raise ConfigError(f"{out}: wanted a name that ends in {', '.join(writers)}")
    partial = out.with_name(out.name + ".tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _watched(simulation):
            written = writers[out.suffix](partial)
        if drifts:
            text = msgspec.json.format(msgspec.json.encode(simulation.truth()), indent=2)
            write_whole(out.with_suffix(".scenario.json"), [text, b"\n"])
        partial.replace(out)
    except OSError as error:
        raise OutputError(
            f"{out}: {error.strerror}; make room or name another file, then run again"
        ) from None
    finally:
        partial.unlink(missing_ok=True)
    return written


def parse_drift(text: str) -> Drift:
    """A drift as the command line says it.

    >>> parse_drift("prices@2024-02-01..2024-03-01=1.3")
    PriceInflation(at='2024-02-01', size=1.3, until='2024-03-01', shape='sudden', span='14d')
    >>> parse_drift("prior@2024-02-01=3:gradual/30d").span
    '30d'
    """
    match = _DRIFT.fullmatch(text)
    if match is None or match["kind"] not in DRIFTS:
        wanted = "KIND@FROM[..UNTIL][=SIZE][:SHAPE[/SPAN]]"
        kinds = f"KIND being {', '.join(DRIFTS)}, SHAPE {', '.join(SHAPES)}, SPAN like 14d"
        raise ConfigError(f"--drift: wanted {wanted}, {kinds}; got {text!r}")
    said: dict[str, Any] = {name: value for name, value in match.groupdict().items() if value}
    if "size" in said:
        said["size"] = float(said["size"])
    return DRIFTS[said.pop("kind")](**said)


@contextmanager
def _watched(simulation: Simulation) -> Iterator[None]:
    """Show how far the simulation is while another call runs it."""
    total = simulation.total_rows or 1
    ended = threading.Event()
    with Progress("simulate") as progress:

        def look() -> None:
            while not ended.wait(_LOOK_EVERY):
                progress.show(simulation.row, min(simulation.row / total, 1.0))

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
