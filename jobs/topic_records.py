"""Records of topics to batches, and what came of a batch to records of topics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.pipeline import Scored
from streams.batch import EVENT, LABEL, Batch, as_text
from streams.broker import Headers, Input
from streams.codec import Decoder
from streams.errors import DeadLetter
from streams.merge import Taken
from streams.order import parts_of, state_of
from streams.payloads import Payloads
from streams.predictions import encode_predictions
from streams.regular import RegularLines
from streams.schema import Event
from streams.sinks import encode_dead_letter
from streams.texts import column_of, payloads_of

Int64s = npt.NDArray[np.int64]
REASONS = 3
"""How many reasons a prediction names."""


class TopicDecoder:
    """Decodes what was taken of topics of events and of labels; `kinds` says which input is which.

    A record is received when the broker appended it: read again, it is judged by the same moment.
    """

    def __init__(self, event: Event, inputs: Sequence[Input], kinds: Sequence[int]) -> None:
        self._inputs = inputs
        self._kinds = np.array(kinds, np.uint8)
        self._regular = RegularLines(event, {})
        self._decoders = {kind: Decoder(event, kind) for kind in (EVENT, LABEL)}
        # The first array of texts has pyarrow import pandas, where that is installed: not later.
        pa.array(["now"], pa.large_string())

    def decode(self, taken: Taken) -> tuple[Batch, list[DeadLetter]]:
        """The good records in order, their input's place as partition, and the others."""
        kinds = self._kinds[taken.inputs]
        found = self._regular.read(taken.values, kinds, taken.stamps)
        if found is not None and len(found[1]) == len(taken):
            batch, _ = found
            batch.partition[:], batch.offset[:] = taken.inputs, taken.offsets
            return batch, []
        parts: list[Batch] = []
        letters: list[DeadLetter] = []
        for kind, decoder in self._decoders.items():
            places = np.flatnonzero(kinds == kind)
            if not len(places) and (kind == EVENT or parts):
                continue
            values = taken.values if len(places) == len(taken) else taken.values.take(places)
            part, bad = decoder.decode(values, taken.stamps[places], offsets=places)
            parts.append(part)
            letters += bad
        batch = Batch.concat(parts)
        if len(parts) > 1:
            batch = batch.take(np.argsort(batch.offset, kind="stable"))
        places = batch.offset.copy()
        batch.partition[:] = taken.inputs[places]
        batch.offset[:] = taken.offsets[places]
        return batch, [self._placed(taken, letter) for letter in letters]

    def _placed(self, taken: Taken, letter: DeadLetter) -> DeadLetter:
        place = letter.offset
        topic, partition = self._inputs[int(taken.inputs[place])]
        return replace(letter, topic=topic, partition=partition, offset=int(taken.offsets[place]))

    def conflict(self, taken: Taken, letter: DeadLetter) -> DeadLetter:
        """A letter about one of the records, with its topic and its bytes."""
        here = (taken.inputs == letter.partition) & (taken.offsets == letter.offset)
        topic, partition = self._inputs[letter.partition]
        raw = taken.values[int(np.flatnonzero(here)[0])] or b""
        return replace(letter, topic=topic, partition=partition, raw=raw)


def places_in(taken: Taken, batch: Batch) -> Int64s:
    """Which of the records each row of a batch, which is of some of them, was made of."""
    if len(batch) == len(taken):
        return np.arange(len(taken))
    where = zip(taken.inputs.tolist(), taken.offsets.tolist(), strict=True)
    place = {at: each for each, at in enumerate(where)}
    rows = zip(batch.partition.tolist(), batch.offset.tolist(), strict=True)
    return np.array([place[at] for at in rows], np.int64)


def with_records(batch: Batch, taken: Taken) -> Batch:
    """The rows with the records they were made of as one text more, to wait with them."""
    return beside(batch, taken.values.take(places_in(taken, batch)))


def beside(batch: Batch, records: Payloads) -> Batch:
    """The rows with these records."""
    return replace(batch, texts=(*batch.texts, column_of(records)))


def parted(batch: Batch) -> tuple[Batch, Taken]:
    """The rows that had records `with_records`, and the records."""
    *texts, records = batch.texts
    inputs = batch.partition.astype(np.int64)
    taken = Taken(inputs, batch.offset, batch.received, payloads_of(as_text(records)), None)
    return replace(batch, texts=tuple(texts)), taken


def sorter_state(event: Event, state: bytes) -> bytes:
    """The state of a sorter of rows `with_records`; in an earlier release's they have none."""
    lateness, watermark, held = parts_of(state)
    if held is None or len(held.texts) > 1 + len(event.keys):
        return state
    return state_of(lateness, watermark, beside(held, Payloads.of([None] * len(held))))


def prediction_records(
    batch: Batch, scored: Scored, names: Sequence[str], inputs: str = ""
) -> tuple[Payloads, Payloads]:
    """Keys and values: the key is the first entity key, or without entities the id."""
    ids = _texts(batch.texts[0], scored.rows)
    keys = _texts(batch.texts[1], scored.rows) if len(batch.texts) > 1 else ids
    values = encode_predictions(
        ids,
        batch.time[scored.rows],
        scored.scores[:, 0],
        scored.intervals,
        scored.review,
        scored.reasons(REASONS),
        names,
        scored.version,
        scored.features,
        scored.number,
        inputs,
    )
    return payloads_of(keys), values


def letter_records(letters: Sequence[DeadLetter]) -> tuple[list[bytes], list[bytes]]:
    """Keys, which are topic/partition/offset, and values."""
    return (
        [f"{each.topic}/{each.partition}/{each.offset}".encode() for each in letters],
        [encode_dead_letter(each) for each in letters],
    )


def _texts(column: pa.Array, rows: Int64s) -> pa.Array:
    return as_text(column if len(rows) == len(column) else column.take(pa.array(rows)))


Kept = dict[tuple[int, int], Headers]


def keep_headers(taken: Taken, batch: Batch, kept: Kept) -> None:
    """Keep the headers of the good records that were taken until their predictions leave."""
    if taken.headers is None:
        return
    places = zip(taken.inputs.tolist(), taken.offsets.tolist(), strict=True)
    given = {at: each for at, each in zip(places, taken.headers, strict=True) if each}
    for at in zip(batch.partition.tolist(), batch.offset.tolist(), strict=True):
        if at in given:
            kept[at] = given[at]


def headers_for(batch: Batch, scored: Scored, kept: Kept) -> list[Headers | None] | None:
    """The headers of each prediction, those of its event; None if there are none at all.

    What was kept of the batch is forgotten.
    """
    if not kept:
        return None
    places = list(zip(batch.partition.tolist(), batch.offset.tolist(), strict=True))
    found = [kept.get(places[row]) for row in scored.rows.tolist()]
    for place in places:
        kept.pop(place, None)
    return found
