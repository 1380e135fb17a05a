"""What the topics of a deployment hold, reduced to what the ledger needs of each record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.clients.buckets import Buckets
from jobs.clients.dead_letters import Place
from jobs.clients.topic_reader import TopicReader
from jobs.config import Settings
from streams.broker import Broker, Run
from streams.errors import InputError
from streams.ident import idents
from streams.records import Outcomes
from streams.schema import Event
from streams.timestamps import parse
from streams.topics import DEAD_LETTERS, LABELS, OUTCOMES, PREDICTIONS, TRANSACTIONS

Int64s = npt.NDArray[np.int64]
INPUTS = (TRANSACTIONS, LABELS)
OUTPUTS = (PREDICTIONS, OUTCOMES, DEAD_LETTERS)
OFFSETS = 48
"""Bits of an offset in a place; the partition is above them."""
NOBODY = -1
"""The first word of a record whose id cannot be read."""
PLACE, WHEN, NUMBER, CONTENT, CAUSE, KNOWN = 2, 3, 2, 3, 2, 3
"""Words of rows after the ident: place and time of a record; number of a prediction and a hash of
its bytes. Of an outcome, after 0 and the prediction's number: its cause; when and what it was."""


class _Told(msgspec.Struct):
    id: str
    number: int


class Gathered:
    """Rows of every topic in buckets of the folder, read to the end of each.

    `watch` is told how many records were read, and what share of all that is.
    """

    def __init__(
        self,
        broker: Broker,
        settings: Settings,
        event: Event,
        folder: Path,
        watch: Callable[[int, float], None],
    ) -> None:
        self.records = {name: Buckets(folder, name, 4) for name in INPUTS}
        self.later = {name: Buckets(folder, f"later-{name}", 4) for name in INPUTS}
        """What came while the outputs were read: not counted, and if it is answered no surprise."""
        self.predictions = Buckets(folder, PREDICTIONS, 4)
        self.numbers = Buckets(folder, "numbers", 4)
        """0 and number, then the ident of the prediction."""
        self.outcomes = Buckets(folder, OUTCOMES, 4)
        self.dead = dict[str, Int64s]()
        """Places of dead records by topic, sorted, each once."""
        self.taken = dict.fromkeys((*INPUTS, *OUTPUTS), 0)
        """Records by topic."""
        self.forgotten = set[str]()
        """The topics that no longer have their first records."""
        self._names = {settings.topic(name): name for name in INPUTS}
        self._dead: dict[str, list[int]] = {name: [] for name in INPUTS}
        self._ids = msgspec.json.Decoder(
            msgspec.defstruct(
                "Record",
                [("id", str | int), ("time", str | int)],
                rename={"id": event.id, "time": event.time},
            )
        )
        with ExitStack() as stack:
            readers = {
                name: stack.enter_context(TopicReader(broker, settings.topic(name)))
                for name in (*INPUTS, *OUTPUTS)
            }
            self._read(readers, watch)
        self.dead = {
            name: np.unique(np.array(places, np.int64)) for name, places in self._dead.items()
        }

    def _read(
        self, readers: Mapping[str, TopicReader], watch: Callable[[int, float], None]
    ) -> None:
        """The inputs, the outputs, and then the ids of the inputs that came meanwhile."""
        bounds = [bound for reader in readers.values() for bound in reader.bounds]
        total, done = max(sum(end - first for first, end in bounds), 1), 0
        self.forgotten = {
            name for name, each in readers.items() if any(first for first, _ in each.bounds)
        }
        for name, reader in readers.items():
            reader.look_again()
            for run in reader.to_end():
                self._take(name, run, reader.inputs[run.input].partition)
                self.taken[name] += len(run)
                done += len(run)
                watch(done, min(done / total, 1.0))
        for name in INPUTS:
            readers[name].look_again()
            for run in readers[name].to_end():
                partition = readers[name].inputs[run.input].partition
                self.later[name].add(self._record_rows(run, partition))

    def _take(self, name: str, run: Run, partition: int) -> None:
        if name in INPUTS:
            self.records[name].add(self._record_rows(run, partition))
        elif name == PREDICTIONS:
            rows = _prediction_rows(run)
            self.predictions.add(rows)
            zeros = np.zeros(len(rows), np.int64)
            self.numbers.add(np.column_stack([zeros, rows[:, NUMBER], rows[:, :2]]))
        elif name == OUTCOMES:
            self.outcomes.add(_outcome_rows(run))
        else:
            self._note_dead(run)

    def _record_rows(self, run: Run, partition: int) -> Int64s:
        rows = np.empty((len(run), 4), np.int64)
        rows[:, PLACE] = run.offsets | partition << OFFSETS
        found = [self._read_record(value) for value in run.values]
        rows[:, :2] = idents(_texts(["" if each is None else str(each.id) for each in found]))
        whens = [0 if each is None else each.time for each in found]
        times = parse(_texts([each if isinstance(each, str) else "" for each in whens]))
        whole = [each if isinstance(each, int) and abs(each) < 1 << 62 else 0 for each in whens]
        rows[:, WHEN] = np.maximum(times, whole)
        nobody = np.array([each is None for each in found])
        rows[nobody, 0] = NOBODY
        rows[nobody, 1] = rows[nobody, PLACE]
        return rows

    def _read_record(self, value: bytes | None) -> Any:
        try:
            return self._ids.decode(value or b"")
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None

    def _note_dead(self, run: Run) -> None:
        for key in run.keys:
            try:
                place = Place.parse((key or b"").decode(errors="replace"))
            except InputError:
                continue
            if place.topic in self._names:
                self._dead[self._names[place.topic]].append(
                    place.offset | place.partition << OFFSETS
                )


def _texts(values: list[str]) -> pa.Array:
    return pa.array(values, pa.large_string())


_TOLD = msgspec.json.Decoder(_Told)
_OUTCOMES = msgspec.json.Decoder(Outcomes)


def _prediction_rows(run: Run) -> Int64s:
    found = _own(_TOLD, run)
    rows = np.empty((len(run), 4), np.int64)
    rows[:, :2] = idents(_texts([each.id for each in found]))
    rows[:, NUMBER] = [each.number for each in found]
    rows[:, CONTENT] = [hash(value) for value in run.values]
    return rows


def _outcome_rows(run: Run) -> Int64s:
    found = _own(_OUTCOMES, run)
    rows = [
        (0, number, cause, known << 1 | value)
        for each in found
        for number, cause, known, value in zip(
            each.numbers, each.causes, each.known, each.values, strict=True
        )
    ]
    return np.array(rows, np.int64).reshape(-1, 4)


def _own(decoder: msgspec.json.Decoder[Any], run: Run) -> list[Any]:
    """Records that only our jobs write."""
    found: list[Any] = []
    try:
        found += (decoder.decode(value or b"") for value in run.values)
    except msgspec.MsgspecError as error:
        offset = run.offsets[len(found)]
        raise InputError(
            f"offset {offset}: wanted what the score job writes, got another record "
            f"({error}); only that job may write to predictions and outcomes"
        ) from error
    return found
