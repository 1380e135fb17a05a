"""Files as a stream: events, and the labels beside them as late as they would have come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from streams.batch import Batch
from streams.errors import ConfigError, DeadLetter, InputError, StateError
from streams.late_labels import LateLabels
from streams.packing import load
from streams.readers import START, CsvReader, JsonReader, ParquetReader, Position, Reader
from streams.schema import Event

_READERS: dict[str, type[ParquetReader | CsvReader | JsonReader]] = {
    ".parquet": ParquetReader,
    ".csv": CsvReader,
    ".ndjson": JsonReader,
    ".jsonl": JsonReader,
}


class _State(msgspec.Struct):
    paths: list[str]
    file: int
    position: Position
    received: int | None
    labels: bytes | None


@dataclass
class FileSource:
    """Reads Parquet, CSV and NDJSON files one after the other, as one stream.

    `columns` maps a field of the event to its column or JSON key, where the names differ. With
    `label_delay_us` the files hold the label beside each event (in the label's column): positives
    become label rows that much later (`streams.late_labels`); an NDJSON file may instead hold
    labels as records of their own. Rows at `until_us` or later are left out. `received_us` is when
    the input is taken, against which times too far ahead are judged; None takes each row at its own
    time and believes it.

    Iterating goes on from where it stopped; `state` and `restore` carry that into another process.
    Errors that concern a file as a whole are `InputError`; a bad record is a dead letter.
    """

    paths: Sequence[Path]
    event: Event
    columns: Mapping[str, str]
    batch_size: int = 8192
    label_delay_us: int | None = None
    until_us: int | None = None
    received_us: int | None = None

    def __post_init__(self) -> None:
        label = self.event.label.name
        names = dict(self.columns)
        unknown = sorted(names.keys() - {*self.event.fields, label})
        if unknown:
            fields = ", ".join((*self.event.fields, label))
            raise ConfigError(f"the event has no field {unknown[0]!r}; its fields are {fields}")
        if self.label_delay_us is None and label in names:
            raise ConfigError(
                f"{label!r} is beside each event: say how late labels come, as in --label-delay 7d"
            )
        if self.label_delay_us is not None:
            names.setdefault(label, label)
        self._labels = LateLabels(self.label_delay_us) if self.label_delay_us is not None else None
        self._readers = [self._reader(place, names) for place in range(len(self.paths))]
        self._file = 0
        self._position: Position = START

    def _reader(self, place: int, names: Mapping[str, str]) -> Reader:
        path = Path(self.paths[place])
        reader = _READERS.get(path.suffix.lower())
        if path.is_dir() or reader is None:
            found = "a folder" if path.is_dir() else f"the suffix {path.suffix!r}"
            message = f"{path}: wanted a file named {', '.join(_READERS)}; got {found}"
            raise InputError(f"{message}; name such files one by one")
        return reader(path, self.event, names, place, self.received_us)

    @property
    def total_rows(self) -> int | None:
        """The rows of all files together, known if all are Parquet."""
        rows = [reader.rows for reader in self._readers]
        return None if None in rows else sum(each for each in rows if each is not None)

    def topic(self, partition: int) -> str:
        """The path that rows of this partition come from."""
        return str(self.paths[partition])

    @property
    def done(self) -> float:
        """The share of the input that has been given, each file counted alike."""
        if self._file == len(self._readers):
            return 1.0
        within = self._position[0] / max(self._readers[self._file].end, 1)
        return (self._file + within) / len(self._readers)

    def __iter__(self) -> Iterator[tuple[Batch, list[DeadLetter]]]:
        """Batches of at most `batch_size` records and the labels due among them."""
        while self._file < len(self._readers):
            reader = self._readers[self._file]
            for batch, letters, position in reader.read(self.batch_size, self._position):
                self._position = position
                yield self._out(batch), letters
            self._file, self._position = self._file + 1, START
        last = self._labels.finish() if self._labels is not None else None
        if last is not None:
            yield last, []

    def _out(self, batch: Batch) -> Batch:
        batch = self._before(batch)
        return batch if self._labels is None else self._labels.push(batch)

    def _before(self, batch: Batch) -> Batch:
        if self.until_us is None or not len(batch) or batch.time.max() < self.until_us:
            return batch
        return batch.take(np.flatnonzero(batch.time < self.until_us))

    def state(self) -> bytes:
        """Where it is: the file, the place in it, and the labels not yet given."""
        labels = self._labels.state() if self._labels is not None else None
        paths = [str(path) for path in self.paths]
        return msgspec.msgpack.encode(
            _State(paths, self._file, self._position, self.received_us, labels)
        )

    def restore(self, state: bytes) -> None:
        """Go on from where `state` was taken; the files read so far must be the first ones here."""
        saved = load(state, _State)
        paths = [str(path) for path in self.paths]
        if (saved.labels is None) != (self._labels is None) or paths != saved.paths:
            raise StateError(
                f"the saved position is in {', '.join(saved.paths)}; this run reads "
                f"{', '.join(paths)}: name the same files and columns, or a new state folder"
            )
        self._file, self._position = saved.file, saved.position
        if self._labels is not None and saved.labels is not None:
            self._labels.restore(saved.labels)
