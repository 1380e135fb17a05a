"""Whether two replays of the same input left the same, to the bit."""

from __future__ import annotations

from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.proofs.proof import BrokenError, Record
from jobs.alarms import DRIFT
from jobs.settings import Inputs

CLOCKED = {"seconds", "events", "events_per_second", "throughput", "latency_us", "state_bytes"}
"""Of metrics.json, what is measured of the process: its time, and the memory it took."""


def compare(left: Path, right: Path) -> Record:
    """How much was the same in two output folders; BrokenError with the first difference."""
    ours, theirs = names(left), names(right)
    _same("files", ours, theirs, right)
    rows = _rows(left, right)
    ours_letters, their_letters = letters(left), letters(right)
    _same("dead letters", ours_letters, their_letters, right)
    alarms = [(each / DRIFT).read_bytes().splitlines() for each in (left, right)]
    _same("alarms", alarms[0], alarms[1], right)
    for name in ("ledger.json", "metrics.json"):
        _same(name, _content(left / name), _content(right / name), right)
    return {"rows": rows, "dead_letters": len(ours_letters), "alarms": len(alarms[0])}


def names(out: Path) -> list[str]:
    """Everything in the folder."""
    return sorted(str(path.relative_to(out)) for path in out.rglob("*"))


def letters(out: Path) -> list[bytes]:
    """The dead letters in their order.

    One without a time of its own has that at which its run began, here as 0.
    """
    began = b'"time":%d,' % Inputs.load(out).received_us
    lines = (out / "dead_letters.ndjson").read_bytes().splitlines()
    return [line.replace(began, b'"time":0,') for line in lines]


def _rows(left: Path, right: Path) -> int:
    """How many predictions there are, every one the same in the same place."""
    ours, theirs = (
        pq.read_table(each / "predictions.parquet").combine_chunks() for each in (left, right)
    )
    _same("columns", ours.schema.remove_metadata(), theirs.schema.remove_metadata(), right)
    _same("number of predictions", len(ours), len(theirs), right)
    for name in ours.column_names:
        _same(f"column {name}", _bits(ours[name]), _bits(theirs[name]), right)
    _same("number of ids", len(ours["id"].unique()), len(ours), left)
    return len(ours)


def _bits(column: pa.ChunkedArray) -> object:
    """The column, floats as their bits: nan is not equal to itself, and 0 is equal to −0."""
    if not pa.types.is_floating(column.type):
        return column
    whole = column.combine_chunks()
    return column.is_null(), whole.fill_null(0.0).to_numpy(zero_copy_only=False).tobytes()


def _content(path: Path) -> object:
    content = orjson.loads(path.read_bytes())
    return {name: value for name, value in content.items() if name not in CLOCKED}


def _same(what: str, left: object, right: object, where: Path) -> None:
    if left != right:
        raise BrokenError(f"{where}: {what}: wanted {_short(left)}, got {_short(right)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:200]} … {text[-200:]}"
