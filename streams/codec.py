"""JSON lines to a `Batch` and dead letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streams.batch import EVENT, LABEL, Batch
from streams.columns import LONGEST_TEXT, Columns, Problems, check_event
from streams.errors import DeadLetter
from streams.jsonl import MIXED, JsonLines
from streams.payloads import Payloads
from streams.regular import RegularLines
from streams.schema import Event
from streams.texts import text_columns
from streams.timestamps import parse

Int64s = npt.NDArray[np.int64]


class Decoder:
    """Decodes the JSON records of one topic or file.

    `kind` is EVENT, LABEL or MIXED. `names` maps an event's field to the JSON key it is read from,
    where the two differ. A name given for the label says that events carry their own label: then
    `Batch.label` holds it, for the file source to make label rows of.

    >>> from streams.schema import Event, Label
    >>> decoder = Decoder(Event("click", keys=("user",), label=Label("bought")), EVENT)
    >>> batch, bad = decoder.decode([b'{"id":1,"time":7,"user":"a"}', b"{"], received=0)
    >>> len(batch), bad[0].reason.value
    (1, 'not JSON')
    """

    def __init__(
        self,
        event: Event,
        kind: int = MIXED,
        topic: str = "",
        names: Mapping[str, str] | None = None,
    ) -> None:
        check_event(event)
        self._event = event
        self._topic = topic
        self._lines = JsonLines(event, kind, names or {})
        self._regular = RegularLines(event, names or {})

    def decode(
        self,
        lines: Sequence[bytes | None],
        received: int | Int64s | None,
        partition: int = 0,
        offsets: Int64s | None = None,
    ) -> tuple[Batch, list[DeadLetter]]:
        """The good records in order, and a dead letter for each of the others. Never raises.

        `received` is when they were taken (microseconds UTC, of all or of each; None: each at its
        own time), `offsets` their places in the partition (by default 0, 1, …).
        """
        n, lines = len(lines), Payloads.of(lines)
        taken = None if received is None else np.full(n, received, np.int64)
        offsets = np.arange(n) if offsets is None else offsets
        found = self._regular.read(lines, self._lines.kinds(lines), taken)
        if found is None:
            whole = [line or b"" for line in lines]
            batch, places, letters = self._decode(whole, taken, partition, offsets)
        else:
            batch, places = found
            letters = []
            if len(places) < n:
                rest = np.delete(np.arange(n), places)
                others, there, letters = self._decode(
                    [lines[row] or b"" for row in rest.tolist()],
                    None if taken is None else taken[rest],
                    partition,
                    offsets[rest],
                )
                places = np.append(places, rest[there])
                batch = Batch.concat([batch, others]).take(np.argsort(places))
                places.sort()
        batch.partition[:] = partition
        batch.offset[:] = offsets[places]
        return batch, letters

    def _decode(
        self, lines: Sequence[bytes], taken: Int64s | None, partition: int, offsets: Int64s
    ) -> tuple[Batch, Int64s, list[DeadLetter]]:
        """The same for lines of any shape, without partition and offset; and where they are."""
        kinds, records, problems = self._lines.read(lines)
        parts: list[Batch] = []
        places: list[Int64s] = []
        for kind in (EVENT, LABEL):
            rows = np.flatnonzero(kinds == kind)
            if len(rows) or (kind == LABEL and not parts):
                chosen = records if len(rows) == len(lines) else [records[row] for row in rows]
                noted = Problems()
                part, good = self._batch(
                    kind, chosen, None if taken is None else taken[rows], noted
                )
                problems |= {int(rows[row]): why for row, why in noted.items()}
                parts.append(part)
                places.append(rows[good])
        batch, where = Batch.concat(parts), np.concatenate(places)
        if len(parts) > 1:
            batch = batch.take(np.argsort(where))
            where.sort()
        return (
            batch,
            where,
            [
                DeadLetter(
                    *problems[row],
                    topic=self._topic,
                    partition=partition,
                    offset=int(offsets[row]),
                    time_us=0 if taken is None else int(taken[row]),
                    raw=bytes(lines[row][: self._event.max_bytes]),
                )
                for row in sorted(problems)
            ],
        )

    def _batch(
        self, kind: int, records: Sequence[Any], received: Int64s | None, problems: Problems
    ) -> tuple[Batch, Int64s]:
        event = self._event
        values = self._lines.columns(kind, records)
        columns = Columns(event, kind, len(records), received, problems)
        time, integers = _times(values[event.time])
        columns.time(time, integers)
        texts = (event.id, *event.keys) if kind == EVENT else (event.id,)
        checked = text_columns([values[name] for name in texts], LONGEST_TEXT)
        if checked:
            columns.checked_texts(*checked)
        else:
            for place, name in enumerate(texts):
                columns.text(place, name, _texts(values[name]))
        if kind == EVENT:
            for place, number in enumerate(event.numbers):
                columns.number(place, number, np.array(values[number.name], np.float64))
            for place, category in enumerate(event.categories):
                columns.category(place, category, _texts(values[category.name]))
        if event.label.name in values:
            label = values[event.label.name]
            columns.label(np.array([-1 if each is None else each for each in label], np.int8))
        return columns.batch()


def _texts(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.large_string())
    except pa.ArrowTypeError:
        texts = [each if isinstance(each, str) or each is None else str(each) for each in values]
        return pa.array(texts, pa.large_string())


def _times(values: list[Any]) -> tuple[Int64s, npt.NDArray[np.bool_] | None]:
    """Microseconds of each value, and which were integers (None: none was)."""
    kinds = set(map(type, values))
    if kinds <= {str}:
        return parse(pa.array(values, pa.large_string())), None
    if kinds == {int}:
        return np.array(values, np.int64), np.ones(len(values), np.bool_)
    texts = [each if isinstance(each, str) else "" for each in values]
    integers = np.array([isinstance(each, int) for each in values])
    numbers = np.array([each if isinstance(each, int) else 0 for each in values], np.int64)
    return np.where(integers, numbers, parse(pa.array(texts, pa.large_string()))), integers
