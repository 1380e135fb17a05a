"""What was committed stays, what was not goes, and a full disk is told."""

from __future__ import annotations

import resource
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams.errors import DeadLetter, OutputError, Reason, StateError
from streams.sinks import Lines, PredictionsParquet, encode_dead_letter

SCHEMA = pa.schema([("id", pa.large_string()), ("score", pa.float64())])


def rows(first: int, last: int) -> pa.Table:
    """Rows of the schema with the ids first to last - 1."""
    ids = range(first, last)
    return pa.table([[str(each) for each in ids], [each / 7 for each in ids]], schema=SCHEMA)


def letter(raw: bytes) -> DeadLetter:
    """A dead letter about these bytes."""
    return DeadLetter(Reason.NOT_JSON, "no JSON", "in", 0, 5, 7, raw)


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Files cannot grow beyond so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_finished_file_has_all_rows_in_order(tmp_path: Path) -> None:
    sink = PredictionsParquet(tmp_path / "predictions.parquet", SCHEMA)
    sink.truncate_after(0)
    sink.write(rows(0, 5))
    assert sink.commit() == 1
    assert sink.commit() == 1
    sink.write(rows(5, 6))
    sink.write(rows(6, 9))
    assert pq.read_table(sink.finish()).equals(rows(0, 9))
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.parquet"]


def test_rows_after_the_saved_part_are_written_once_more_not_twice(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    killed = PredictionsParquet(path, SCHEMA)
    killed.truncate_after(0)
    for first in (0, 3, 6):
        killed.write(rows(first, first + 3))
        killed.commit()
    killed.write(rows(9, 200_000))
    again = PredictionsParquet(path, SCHEMA)
    again.truncate_after(1)
    again.write(rows(3, 20))
    assert pq.read_table(again.finish()).equals(rows(0, 20))


def test_a_finished_file_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    first = PredictionsParquet(path, SCHEMA)
    first.truncate_after(0)
    first.write(rows(0, 4))
    first.finish()
    second = PredictionsParquet(path, SCHEMA)
    second.truncate_after(1)
    second.write(rows(4, 6))
    assert pq.read_table(second.finish()).equals(rows(0, 6))


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_kill_while_finishing_loses_nothing(tmp_path: Path, left: int) -> None:
    path = tmp_path / "predictions.parquet"
    sink = PredictionsParquet(path, SCHEMA)
    sink.truncate_after(0)
    for first in (0, 2):
        sink.write(rows(first, first + 2))
        sink.commit()
    folder = tmp_path / "predictions.parquet.parts"
    parts = {part.name: part.read_bytes() for part in sorted(folder.iterdir())[:left]}
    sink.finish()
    folder.mkdir()
    for name, content in parts.items():
        (folder / name).write_bytes(content)
    again = PredictionsParquet(path, SCHEMA)
    again.truncate_after(2)
    assert pq.read_table(again.finish()).equals(rows(0, 4))


def test_large_parts_are_joined_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    sink = PredictionsParquet(path, SCHEMA)
    sink.truncate_after(0)
    for first in (0, 20_000, 40_000):
        sink.write(rows(first, first + 20_000))
        sink.commit()
    sink.finish()
    assert pq.ParquetFile(path).num_row_groups == 3
    assert pq.read_table(path).equals(rows(0, 60_000))
    assert pl.read_parquet(path)["score"].sum() == pytest.approx(sum(range(60_000)) / 7)
    again = PredictionsParquet(path, SCHEMA)
    again.truncate_after(3)
    again.write(rows(60_000, 80_000))
    assert pq.read_table(again.finish()).equals(rows(0, 80_000))


def test_a_new_run_replaces_what_another_left(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    for last in (9, 4):
        sink = PredictionsParquet(path, SCHEMA)
        sink.truncate_after(0)
        sink.write(rows(0, last))
        sink.finish()
    assert pq.read_table(path).equals(rows(0, 4))


def test_no_predictions_are_an_empty_file(tmp_path: Path) -> None:
    sink = PredictionsParquet(tmp_path / "deep" / "predictions.parquet", SCHEMA)
    sink.truncate_after(0)
    assert pq.read_table(sink.finish()).equals(rows(0, 0))


def test_parts_that_are_not_there_are_told(tmp_path: Path) -> None:
    sink = PredictionsParquet(tmp_path / "predictions.parquet", SCHEMA)
    with pytest.raises(StateError, match="counts 3 parts, here are 0"):
        sink.truncate_after(3)


def test_a_full_disk_is_told_and_earlier_parts_are_good(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    sink = PredictionsParquet(path, SCHEMA)
    sink.truncate_after(0)
    sink.write(rows(0, 100))
    sink.commit()
    with no_file_above(20_000), pytest.raises(OutputError, match="cannot be written"):
        sink.write(rows(100, 200_000))
    assert not list(tmp_path.glob("*.tmp"))
    again = PredictionsParquet(path, SCHEMA)
    again.truncate_after(1)
    assert pq.read_table(again.finish()).equals(rows(0, 100))


def test_a_disk_full_at_the_end_leaves_the_parts(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    sink = PredictionsParquet(path, SCHEMA)
    sink.truncate_after(0)
    for first in (0, 1000):
        sink.write(rows(first, first + 1000))
        sink.commit()
    with no_file_above(5_000), pytest.raises(OutputError, match="cannot be written"):
        sink.finish()
    assert pq.read_table(sink.finish()).equals(rows(0, 2000))


def test_dead_letters_are_cut_back_to_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "dead_letters.ndjson"
    with Lines(path) as sink:
        sink.write(map(encode_dead_letter, [letter(b"{"), letter(b"\xff")]))
        position = sink.commit()
        sink.write([encode_dead_letter(letter(b"lost"))])
    with Lines(path) as sink:
        sink.truncate(position)
        sink.write([encode_dead_letter(letter(b"["))])
    first, second, third = (orjson.loads(line) for line in path.read_bytes().splitlines())
    assert (first["raw"], b64decode(second["raw_base64"]), third["raw"]) == ("{", b"\xff", "[")
    assert first["reason"] == "not JSON"


def test_dead_letters_cut_back_are_counted_without_what_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "dead_letters.ndjson"
    with Lines(path) as sink:
        sink.write([encode_dead_letter(letter(b"kept"))])
        position = sink.commit()
        sink.write([encode_dead_letter(letter(b"lost"))])
    with Lines(path) as sink:
        sink.truncate(position)
        assert sink.commit() == position


def test_dead_letters_shorter_than_the_state_says_are_told(tmp_path: Path) -> None:
    with Lines(tmp_path / "d.ndjson") as sink, pytest.raises(StateError, match="here"):
        sink.truncate(5)


def test_dead_letters_on_a_full_disk_are_told(tmp_path: Path) -> None:
    sink = Lines(tmp_path / "d.ndjson")
    with no_file_above(100), pytest.raises(OutputError, match=r"d.ndjson: cannot be written"):
        sink.write([encode_dead_letter(letter(b"x" * 100_000))])
    sink.close()
