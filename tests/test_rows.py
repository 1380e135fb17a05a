"""Mapped rows: what was written stays, under its number, whatever happens to the process."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from streams.errors import OutputError, StateError
from streams.jit import kernel
from streams.rows import MappedRows


@kernel("void(int64[:, ::1], int64, int64)")
def fill(rows: npt.NDArray[np.int64], start: int, stop: int) -> None:
    """Write the row's number, and its square, into each row."""
    for row in range(start, stop):
        rows[row, 0] = row
        rows[row, 1] = row * row


def filled(path: Path, count: int) -> MappedRows:
    rows = MappedRows(path, 2)
    rows.reserve(count)
    fill(rows.view, 0, count)
    return rows


def mapped_bytes(path: Path) -> int:
    """How much of a file is mapped by this process at present."""
    found = 0
    mine = False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            mine = words[-1] == str(path)
        elif mine and words[0] == "Rss:":
            found += 1024 * int(words[1])
    return found


def test_a_kernel_writes_through_the_view_and_another_opening_reads_it(tmp_path: Path) -> None:
    filled(tmp_path / "rows", 1000).close()
    view = MappedRows(tmp_path / "rows", 2).view
    assert np.array_equal(view[:1000, 1], view[:1000, 0] ** 2)
    assert view[999].tolist() == [999, 998_001]


def test_growing_keeps_every_row_and_adds_zeros(tmp_path: Path) -> None:
    rows = filled(tmp_path / "rows", 1000)
    before = rows.view
    rows.reserve(3_000_000)
    assert len(rows) >= 3_000_000
    assert np.array_equal(rows.view[:1000], before[:1000])
    assert not rows.view[len(before) :].any()


def test_a_view_taken_before_growing_is_the_same_memory(tmp_path: Path) -> None:
    rows = filled(tmp_path / "rows", 10)
    before = rows.view
    rows.reserve(len(rows) + 1)
    before[5] = 1, 2
    assert rows.view[5].tolist() == [1, 2]


def test_nothing_is_mapped_before_the_first_row_is_reserved(tmp_path: Path) -> None:
    rows = MappedRows(tmp_path / "rows", 3, np.float64)
    rows.release()
    rows.flush()
    assert rows.view.shape == (0, 3) and rows.view.dtype == np.float64


def test_what_is_cut_off_comes_back_as_zeros(tmp_path: Path) -> None:
    rows = filled(tmp_path / "rows", 1000)
    rows.truncate(600)
    assert len(rows) == 600
    rows.reserve(1000)
    assert rows.view[599, 0] == 599 and not rows.view[600:].any()


def test_released_memory_leaves_the_process_and_the_rows_stay(tmp_path: Path) -> None:
    rows = filled(tmp_path / "rows", 4_000_000)
    assert mapped_bytes(tmp_path / "rows") >= 64_000_000
    rows.release()
    assert mapped_bytes(tmp_path / "rows") == 0
    assert rows.view[3_999_999, 0] == 3_999_999


def test_a_row_read_alone_maps_little_of_what_surrounds_it(tmp_path: Path) -> None:
    rows = filled(tmp_path / "rows", 4_000_000)
    rows.release()
    assert rows.view[::400_000, 0].tolist() == list(range(0, 4_000_000, 400_000))
    assert mapped_bytes(tmp_path / "rows") <= 10 * (1 << 16)


def test_scattered_rows_are_taken_without_mapping_all_that_surrounds_them(tmp_path: Path) -> None:
    rows = filled(tmp_path / "rows", 4_000_000)
    rows.release()
    scattered = np.random.default_rng(0).permutation(4_000_000)[:5_000]
    assert np.array_equal(rows.take(scattered), rows.view[scattered])
    rows.release()
    assert np.array_equal(rows.take(scattered, slice(1, 2))[:, 0], scattered**2)
    assert mapped_bytes(tmp_path / "rows") <= 512 * (1 << 16)


def test_reserving_more_leaves_written_rows_as_they_are(tmp_path: Path) -> None:
    rows = MappedRows(tmp_path / "rows", 3)
    for count in range(1, 20_000, 7):
        rows.reserve(count)
        rows.view[count - 1] = count
        if count % 1000 == 1:
            rows.close()
            rows = MappedRows(tmp_path / "rows", 3)
    assert np.array_equal(rows.view[:19_997:7, 1], np.arange(1, 20_000, 7))


def test_forgotten_rows_give_their_disk_back_and_the_others_keep_their_numbers(
    tmp_path: Path,
) -> None:
    rows = filled(tmp_path / "rows", 1_000_000)
    rows.flush()
    before = (tmp_path / "rows").stat().st_blocks
    rows.forget(900_000)
    assert rows.view[900_000, 0] == 900_000
    assert (tmp_path / "rows").stat().st_blocks < before


def test_rows_survive_a_kill(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from streams.rows import MappedRows
rows = MappedRows(Path({str(tmp_path / "rows")!r}), 1)
rows.reserve(500_000)
rows.view[:500_000, 0] = range(500_000)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -9
    assert np.array_equal(MappedRows(tmp_path / "rows", 1).view[:500_000, 0], np.arange(500_000))


def test_a_full_disk_is_an_error_and_the_rows_before_it_are_good(small_disk: Path) -> None:
    rows = filled(small_disk / "rows", 10_000)
    with pytest.raises(OutputError, match=r"bytes more on disk .* free that much"):
        rows.reserve(1_000_000)
    rows.reserve(len(rows))
    fill(rows.view, 0, len(rows))
    assert rows.view[len(rows) - 1, 0] == len(rows) - 1


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    with pytest.raises(StateError, match=f"rows: .*{os.strerror(errno.EISDIR)}"):
        MappedRows(tmp_path / "rows", 1)
