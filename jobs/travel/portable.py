"""The state of a score job on its way: what is known of ids and keys, and how far topics are read.

It lies in a folder, as one snapshot (`streams.snapshots`): named arrays and a dictionary, with
checksums, its format and the pipeline's definition. The folder gets its name when all is written.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from jobs.config import Order
from models.manifest import Manifest
from streams.batch import Batch
from streams.broker import Input
from streams.errors import StateError
from streams.packing import load, pack, unpack
from streams.snapshots import Snapshots

Int64s = npt.NDArray[np.int64]
NEVER = -(2**62)
_RECORDS, _WEIGHTS = "records/", "weights"
_AGAIN = "export it again"


class About(msgspec.Struct, kw_only=True):
    """What is small of a state on its way; times in microseconds UTC."""

    order: Order
    inputs: list[tuple[str, int, int]]
    """Topic, partition and the next offset."""
    topics: dict[str, str]
    """The broker's ids of those topics."""
    seen_us: int = NEVER
    """The newest event that was read."""
    clock_us: int = NEVER
    """The largest time of any event or label that was processed."""
    newest_us: int = NEVER
    """The newest event that was processed."""
    from_us: int = 0
    """What lies before it was taken from files, and is left out where a topic has it."""
    cursor: int = 0
    """Events before this one in `Portable.ids` have matured or have a label."""
    counts: dict[str, int] = {}
    """The ledger's, by name (`operators.admission.COUNTS`)."""
    base: int = 0
    """No event was numbered this or higher."""
    moved: int = 0
    """How many events were numbered."""
    version: Manifest | None = None
    """The version of the model that scores next, if it is not the prior."""


@dataclass(frozen=True, slots=True)
class Portable:
    """The state of a score job, of n ids that are remembered, in no engine's own form."""

    about: About
    ids: Int64s
    """(n, 4 + 2K) rows as of `operators.index.Index`, in the order in which they mature."""
    numbers: Int64s
    """(n,) of the events."""
    labels: Int64s
    """(m, 2) place among the ids and the label that is held of it, as of `operators.labels`."""
    waiting: Int64s
    """(w, 3) labels that wait for their event: that word, and the id; the first to go first."""
    records: dict[str, Int64s] = field(default_factory=dict)
    """By entity: packed key records (`operators.keyrecords`), one after the other."""
    held: Batch | None = None
    """What waits to be sorted, in order; `partition` is the place among `About.inputs`."""
    values: tuple[bytes, ...] = ()
    """The records that those rows came as; empty where that is not known."""
    weights: bytes = b""
    """Of the version."""

    @property
    def offsets(self) -> dict[Input, int]:
        """The next offset of each input."""
        return {Input(topic, partition): at for topic, partition, at in self.about.inputs}

    def summary(self) -> str:
        """What is in it, in a line."""
        keys = ", ".join(f"{len(each) * 8:,} bytes of {key}s" for key, each in self.records.items())
        version = f", version {self.about.version.sequence}" if self.about.version else ""
        return (
            f"{len(self.ids):,} ids, {len(self.labels):,} labels, {len(self.waiting):,} waiting, "
            f"{len(self.held or ()):,} events held, {keys or 'no keys'}{version}"
        )

    def save(self, folder: Path, definition: str) -> None:
        """Write it to a folder that is not there yet; it appears whole or not at all.

        Raises StateError where there is something under that name, OutputError for want of room.
        """
        refuse_existing(folder)
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        held = b"" if self.held is None else msgspec.msgpack.encode((pack(self.held), self.values))
        arrays: dict[str, npt.NDArray[Any]] = {
            "ids": self.ids,
            "numbers": self.numbers,
            "labels": self.labels,
            "waiting": self.waiting,
            "held": np.frombuffer(held, np.uint8),
            _WEIGHTS: np.frombuffer(self.weights, np.uint8),
        }
        arrays |= {f"{_RECORDS}{key}": packed for key, packed in self.records.items()}
        snapshots = Snapshots(part, definition, fsync=True)
        snapshots.commit(arrays, {"about": msgspec.to_builtins(self.about)})
        snapshots.close()
        part.replace(folder)

    @classmethod
    def load(cls, folder: Path, definition: str) -> Portable:
        """What `save` wrote, verified.

        Raises StateError for one of another pipeline or format, and where it is damaged or missing.
        """
        unfinished = folder.with_name(f"{folder.name}.part")
        if not folder.is_dir() and unfinished.is_dir():
            raise StateError(f"{folder}: its export did not come to its end; {_AGAIN}")
        if not any(folder.glob("*.snapshot")):
            raise StateError(
                f"{folder}: wanted what `headrace state export --out {folder}` wrote, found "
                "nothing of the kind; name the folder that was given there"
            )
        state = Snapshots(folder, definition, advice=_AGAIN).load()
        if state is None or "about" not in state.meta:
            raise StateError(f"{folder}: wanted an exported state, found another snapshot")
        arrays = state.arrays
        held = arrays["held"].tobytes()
        rows, values = load(held, tuple[bytes, tuple[bytes, ...]]) if held else (None, ())
        return cls(
            about=msgspec.convert(state.meta["about"], About),
            ids=arrays["ids"],
            numbers=arrays["numbers"],
            labels=arrays["labels"],
            waiting=arrays["waiting"],
            records={
                name.removeprefix(_RECORDS): packed
                for name, packed in arrays.items()
                if name.startswith(_RECORDS)
            },
            held=None if rows is None else unpack(rows),
            values=values,
            weights=arrays[_WEIGHTS].tobytes(),
        )


def refuse_existing(folder: Path) -> None:
    """Raise StateError where there is something under a name that is to be written."""
    if folder.exists():
        raise StateError(f"{folder}: is there already; name another --out, or remove it")
