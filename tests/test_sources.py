"""Files give the same rows for every batch size and from every place; labels come late."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.batch import UNKNOWN, Batch
from streams.errors import ConfigError, DeadLetter, InputError, Reason, StateError
from streams.packing import pack
from streams.schema import DAY, SECOND, Event, Label, Number
from streams.sources import FileSource

PURCHASE = Event(
    "transaction",
    keys=("customer", "terminal"),
    numbers=(Number("amount", scale=2, maximum=100_000),),
    label=Label("fraud", maturity="7d"),
)
T0 = 1_522_540_800 * SECOND

histories = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 9), st.sampled_from([0, 0, 1])),
    min_size=1,
    max_size=30,
)


def table(history: list[tuple[int, int, int]]) -> pa.Table:
    """Rows of time in seconds, customer and fraud, with ids in their order."""
    times = [T0 + time * SECOND for time, *_ in history]
    return pa.table(
        {
            "id": list(range(len(history))),
            "time": pa.array(times, pa.timestamp("us")),
            "customer": [customer for _, customer, _ in history],
            "terminal": [7] * len(history),
            "amount": [1.25] * len(history),
            "fraud": [fraud for *_, fraud in history],
        }
    )


def written(folder: Path, history: list[tuple[int, int, int]], suffix: str) -> Path:
    """The history as a file of that kind."""
    path = folder / f"history{suffix}"
    rows = table(history)
    if suffix == ".parquet":
        pq.write_table(rows, path, row_group_size=7)
    elif suffix == ".csv":
        pa.csv.write_csv(rows, path)
    else:
        times = rows.set_column(1, "time", rows["time"].cast(pa.int64()))
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in times.to_pylist()))
    return path


def source(*paths: Path, **options: Any) -> FileSource:
    """A source of the transaction whose labels come after two seconds."""
    chosen: dict[str, Any] = {"columns": {"fraud": "fraud"}, "label_delay_us": 2 * SECOND}
    return FileSource(paths, PURCHASE, **(chosen | options))


def rows_of(parts: Iterable[tuple[Batch, list[DeadLetter]]]) -> bytes:
    """All rows, columns and texts, as bytes."""
    return pack(Batch.concat([batch for batch, _ in parts]))


def expected(history: list[tuple[int, int, int]], delay: int) -> list[tuple[int, int]]:
    """Ids and whether they are labels, by the rule said in plain Python."""
    out: list[tuple[int, int]] = []
    pending: list[tuple[int, int]] = []
    latest = -1
    for ident, (time, _, fraud) in enumerate(history):
        latest = max(latest, time)
        out += [(known, 1) for due, known in sorted(pending) if due <= latest]
        pending = [each for each in pending if each[0] > latest]
        out.append((ident, 0))
        pending += [(time + delay, ident)] * fraud
    return out + [(known, 1) for due, known in sorted(pending) if due <= latest]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".ndjson"])
@given(history=histories, size=st.integers(1, 12), delay=st.integers(0, 6))
def test_labels_come_before_the_first_event_of_their_time_or_later(
    suffix: str, history: list[tuple[int, int, int]], size: int, delay: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), history, suffix)
        parts = list(source(path, batch_size=size, label_delay_us=delay * SECOND))
    assert [letters for _, letters in parts if letters] == []
    found = [
        (int(ident), kind)
        for batch, _ in parts
        for ident, kind in zip(batch.texts[0].to_pylist(), batch.kind.tolist(), strict=True)
    ]
    assert found == expected(history, delay)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".ndjson"])
@given(history=histories, sizes=st.tuples(st.integers(1, 12), st.integers(1, 40)))
def test_the_batch_size_changes_no_row(
    suffix: str, history: list[tuple[int, int, int]], sizes: tuple[int, int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), history, suffix)
        first, second = (rows_of(source(path, path, batch_size=size)) for size in sizes)
    assert first == second


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".ndjson"])
@given(history=histories, size=st.integers(1, 12), stop=st.integers(0, 20))
def test_a_source_goes_on_exactly_from_its_state(
    suffix: str, history: list[tuple[int, int, int]], size: int, stop: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), history, suffix)
        first = source(path, path, batch_size=size)
        parts = [part for _, part in zip(range(stop), first, strict=False)]
        second = source(path, path, batch_size=size + 1)
        second.restore(first.state())
        parts += second
        assert rows_of(parts) == rows_of(source(path, path))


def test_events_hold_no_label_and_labels_no_keys(tmp_path: Path) -> None:
    path = written(tmp_path, [(0, 5, 1), (9, 6, 0)], ".parquet")
    batch = Batch.concat([batch for batch, _ in source(path)])
    assert batch.label.tolist() == [UNKNOWN, 1, UNKNOWN]
    assert batch.time.tolist() == [T0, T0 + 2 * SECOND, T0 + 9 * SECOND]
    assert batch.texts[1].to_pylist() == [5, 0, 6]
    assert not batch.numbers[1].any()


def test_ndjson_may_hold_labels_as_records(tmp_path: Path) -> None:
    path = tmp_path / "mixed.ndjson"
    event = {"id": 1, "time": T0, "customer": 1, "terminal": 1, "amount": 1}
    path.write_bytes(
        b"\xef\xbb\xbf"
        + orjson.dumps(event)
        + b"\r\n\n"
        + orjson.dumps({"id": 1, "time": T0 + 5, "fraud": True})
        + b"\nnonsense"
    )
    ((batch, letters),) = FileSource([path], PURCHASE, {})
    assert (batch.label.tolist(), batch.offset.tolist()) == ([UNKNOWN, 1], [1, 3])
    assert [(letter.reason, letter.offset, letter.raw) for letter in letters] == [
        (Reason.NOT_JSON, 4, b"nonsense")
    ]


def test_rows_from_the_end_on_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, [(0, 1, 0), (5, 1, 0), (3, 1, 0), (6, 1, 0)], ".csv")
    batch = Batch.concat([batch for batch, _ in source(path, until_us=T0 + 5 * SECOND)])
    assert batch.texts[0].to_pylist() == ["0", "2"]


def test_the_rows_of_parquet_files_are_known_beforehand(tmp_path: Path) -> None:
    parquet = written(tmp_path, [(0, 1, 0)] * 9, ".parquet")
    csv = written(tmp_path, [(0, 1, 0)], ".csv")
    assert (source(parquet, parquet).total_rows, source(parquet, csv).total_rows) == (18, None)


def test_a_bad_csv_row_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(
        b"id,time,customer,terminal,amount,fraud\n"
        b"1,2018-04-01T00:00:00Z,5,7,1.25,0\n"
        b"2,2018-04-01 00:00:01,5,7\n"
        b'3,2018-04-01 00:00:02,"5,7,1.25,0\n'
        b"4,2018-04-01 00:00:03,\xff,7,1.25,0\n"
        b"5,2018-04-01 00:00:04,5,,1.25,0\n"
        b"6,2018-04-01 00:00:05,5,7,cheap,0\n"
        b"7,soon,5,7,1.25,0\n"
        b"8,1522540806000000,5,7,1.25,maybe\n" + b"9" * 99_999 + b"\n"
        b"10,1522540806000000,5,7,1.25,\n"
    )
    parts = list(source(path, batch_size=4))
    letters = [(letter.offset, letter.reason) for _, found in parts for letter in found]
    assert [ident for batch, _ in parts for ident in batch.texts[0].to_pylist()] == ["1", "10"]
    assert letters == [
        (3, Reason.NOT_A_ROW),
        (4, Reason.NOT_A_ROW),
        (5, Reason.BAD_TEXT),
        (6, Reason.MISSING_FIELD),
        (7, Reason.WRONG_TYPE),
        (8, Reason.BAD_TIME),
        (9, Reason.WRONG_TYPE),
        (10, Reason.TOO_LARGE),
    ]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_of_every_unit_are_read(tmp_path: Path, unit: str) -> None:
    rows = table([(3, 1, 0)])
    times = rows["time"].cast(pa.timestamp(unit))
    pq.write_table(rows.set_column(1, "time", times), tmp_path / "t.parquet", version="2.6")
    ((batch, _),) = source(tmp_path / "t.parquet")
    assert batch.time.tolist() == [T0 + 3 * SECOND]


def test_times_ahead_of_the_receipt_are_dead_letters(tmp_path: Path) -> None:
    path = written(tmp_path, [(0, 1, 0), (90_000, 1, 0)], ".parquet")
    ((batch, letters),) = source(path, received_us=T0)
    assert (len(batch), [letter.reason for letter in letters]) == (1, [Reason.TIME_AHEAD])
    assert batch.received.tolist() == [T0]


def test_a_missing_column_is_named_with_those_there(tmp_path: Path) -> None:
    for suffix in (".parquet", ".csv"):
        path = written(tmp_path, [(0, 1, 0)], suffix)
        with pytest.raises(
            InputError, match=r"no column 'TX' \(for 'id'\); there are 'id', 'time'"
        ):
            FileSource([path], PURCHASE, {"id": "TX"})


def test_a_column_of_no_usable_type_is_named(tmp_path: Path) -> None:
    rows = table([(0, 1, 0)])
    path = tmp_path / "bad.parquet"
    pq.write_table(rows.set_column(4, "amount", pa.array([[1.0]])), path)
    with pytest.raises(InputError, match=r"bad.parquet: the column for 'amount' is of type list"):
        list(source(path))


def test_a_truncated_parquet_file_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, [(0, 1, 0)] * 100, ".parquet")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"history.parquet: wanted a whole Parquet file"):
        source(path)


@pytest.mark.parametrize(
    "name", ["none.parquet", "none.csv", "none.ndjson", "none.txt", "folder.csv"]
)
def test_what_cannot_be_opened_is_told_with_its_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=name):
        source(tmp_path / name)


@pytest.mark.parametrize("name", ["empty.parquet", "empty.csv", "empty.ndjson"])
def test_an_empty_file_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=name):
        source(tmp_path / name)


def test_a_field_that_the_event_lacks_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [(0, 1, 0)], ".csv")
    with pytest.raises(ConfigError, match="no field 'colour'; its fields are id, time"):
        FileSource([path], PURCHASE, {"colour": "x"})
    with pytest.raises(ConfigError, match="say how late"):
        FileSource([path], PURCHASE, {"fraud": "fraud"})


def test_the_state_of_other_files_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [(0, 1, 0)], ".csv")
    other = written(tmp_path, [(0, 1, 0)], ".parquet")
    with pytest.raises(StateError, match="name the same files"):
        source(path).restore(source(other).state())
    with pytest.raises(StateError, match="cannot be read"):
        source(path).restore(b"\x00")


def test_the_handbooks_transactions_are_all_read(handbook: Path) -> None:
    columns = {
        "id": "TRANSACTION_ID",
        "time": "TX_DATETIME",
        "customer": "CUSTOMER_ID",
        "terminal": "TERMINAL_ID",
        "amount": "TX_AMOUNT",
        "fraud": "TX_FRAUD",
    }
    files = FileSource([handbook], PURCHASE, columns, label_delay_us=7 * DAY)
    parts = [(len(batch), int(batch.label.clip(0).sum()), letters) for batch, letters in files]
    assert [letters for *_, letters in parts if letters] == []
    assert sum(rows - labels for rows, labels, _ in parts) == files.total_rows
