"""Strict order: sorted whatever the arrival, the same for every cut, late rows passed and told."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.batch import EVENT, LABEL, Batch
from streams.columns import Columns, Problems
from streams.errors import StateError
from streams.order import Sorter, in_order
from streams.packing import pack, unpack
from streams.schema import Event, Label

CLICK = Event("click", keys=("user",), label=Label("bought"))
Row = tuple[int, int, int]

rows = st.lists(
    st.tuples(st.sampled_from([EVENT, EVENT, EVENT, LABEL]), st.integers(0, 30), st.integers(0, 5)),
    min_size=1,
    max_size=40,
)


def batch_of(given_rows: list[Row]) -> Batch:
    """Rows of kind, time and id; each keeps its place as its offset."""
    columns = Columns(CLICK, EVENT, len(given_rows), None, Problems())
    columns.time(np.array([time for _, time, _ in given_rows], np.int64), None)
    for place, name in enumerate(("id", "user")):
        columns.text(place, name, pa.array([ident for *_, ident in given_rows]))
    batch, _ = columns.batch()
    batch.kind[:] = [kind for kind, *_ in given_rows]
    batch.offset[:] = np.arange(len(given_rows))
    return batch


def run(sorter: Sorter, batch: Batch, cuts: list[int]) -> tuple[list[int], list[bool]]:
    """The offsets and late flags in the order they came out."""
    out: list[int] = []
    late: list[bool] = []
    bounds = [0, *sorted(cut for cut in cuts if cut < len(batch)), len(batch)]
    for start, stop in pairwise(bounds):
        passed, flags = sorter.push(batch[start:stop])
        out += passed.offset.tolist()
        late += flags.tolist()
    rest = sorter.flush()
    return out + ([] if rest is None else rest.offset.tolist()), late


@given(rows)
def test_within_the_lateness_the_order_is_that_of_the_sorted_stream(given_rows: list[Row]) -> None:
    batch = batch_of(given_rows)
    out, late = run(Sorter(30), batch, list(range(len(batch))))
    assert not any(late)
    assert out == in_order(batch).tolist()


@given(rows, st.integers(0, 31), st.lists(st.integers(1, 39)))
def test_any_cut_gives_the_same_rows_in_the_same_order(
    given_rows: list[Row], lateness: int, cuts: list[int]
) -> None:
    batch = batch_of(given_rows)
    singly = run(Sorter(lateness), batch, list(range(len(batch))))
    assert run(Sorter(lateness), batch, cuts) == singly
    assert sorted(singly[0]) == list(range(len(batch)))


@given(rows, st.integers(0, 31), st.integers(0, 40))
def test_it_goes_on_from_its_state(given_rows: list[Row], lateness: int, cut: int) -> None:
    batch = batch_of(given_rows)
    first, second = Sorter(lateness), Sorter(lateness)
    out, late = first.push(batch[:cut])
    second.restore(first.state())
    rest = run(second, batch[cut:], [])
    whole = run(Sorter(lateness), batch, [])
    assert (out.offset.tolist() + rest[0], late.tolist() + rest[1]) == whole


@given(rows, st.integers(0, 10))
def test_exactly_the_rows_before_the_watermark_are_late(
    given_rows: list[Row], lateness: int
) -> None:
    batch = batch_of(given_rows)
    sorter = Sorter(lateness)
    latest = -1000
    for place, (kind, time, _) in enumerate(given_rows):
        passed, late = sorter.push(batch[place : place + 1])
        assert (place in passed.offset[late].tolist()) == (time < latest - lateness)
        latest = max(latest, time) if kind == EVENT else latest


def test_labels_come_before_events_and_smaller_ids_first_at_equal_time() -> None:
    batch = batch_of([(EVENT, 5, 9), (EVENT, 5, 2), (LABEL, 5, 7), (EVENT, 4, 8)])
    out, _ = run(Sorter(5), batch, [])
    assert out == [3, 2, 1, 0]


def test_a_label_does_not_move_the_watermark() -> None:
    _, late = run(Sorter(0), batch_of([(EVENT, 5, 1), (LABEL, 9, 1), (EVENT, 6, 2)]), [])
    assert not any(late)


def test_the_state_of_another_lateness_is_refused() -> None:
    with pytest.raises(StateError, match="lateness of 3 us, this run wants 4 us"):
        Sorter(4).restore(Sorter(3).state())


@given(rows)
def test_a_batch_is_unpacked_as_it_was_packed(given_rows: list[Row]) -> None:
    batch = batch_of(given_rows)
    again = unpack(pack(batch))
    assert pack(again) == pack(batch)
    assert again.texts == batch.texts


@given(st.binary(max_size=50))
def test_bytes_that_are_no_batch_are_refused(content: bytes) -> None:
    with pytest.raises(StateError):
        unpack(content)
