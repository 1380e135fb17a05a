"""The journal gives back exactly what was appended, or says what is missing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import OutputError, StateError
from streams.journal import Entry, Journal


def entry(sequence: int, runs: int = 2) -> Entry:
    ranges = np.arange(4 * runs, dtype=np.int64).reshape(runs, 4) + sequence
    return Entry(sequence, ranges, sequence // 10, bytes([sequence % 256] * 16))


def written(folder: Path, stop: int) -> Journal:
    journal = Journal(folder)
    for sequence in range(1, stop):
        journal.append(entry(sequence, sequence % 4))
    return journal


def size(journal: Journal) -> int:
    return sum(path.stat().st_size for path in journal.folder.iterdir())


def sequences(journal: Journal, after: int = 0) -> list[int]:
    return [each.sequence for each in journal.entries(after)]


def test_entries_come_back_as_they_were_appended(tmp_path: Path) -> None:
    written(tmp_path, 50).close()
    found = list(Journal(tmp_path, fsync=True).entries(after=20))
    assert [each.sequence for each in found] == list(range(21, 50))
    for each in found:
        wanted = entry(each.sequence, each.sequence % 4)
        assert np.array_equal(each.ranges, wanted.ranges)
        assert (each.version, each.digest) == (wanted.version, wanted.digest)


@given(cut=st.integers(0, 1000))
def test_a_tail_cut_anywhere_loses_only_the_entries_it_cuts(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    ends = []
    for sequence in range(1, 6):
        journal.append(entry(sequence, sequence % 4))
        ends.append(size(journal))
    os.truncate(next(folder.iterdir()), min(cut, ends[-1]))
    journal = Journal(folder)
    kept = sum(end <= cut for end in ends)
    assert sequences(journal) == list(range(1, kept + 1))
    journal.append(entry(kept + 1))
    assert sequences(Journal(folder)) == list(range(1, kept + 2))


@pytest.mark.parametrize("byte", [30, 300])
def test_a_flipped_bit_before_the_end_is_damage_not_a_torn_tail(tmp_path: Path, byte: int) -> None:
    written(tmp_path, 12).close()
    path = next(tmp_path.iterdir())
    raw = bytearray(path.read_bytes())
    raw[byte] ^= 4
    path.write_bytes(raw)
    with pytest.raises(StateError, match="found damage at byte"):
        Journal(tmp_path)


def test_truncating_keeps_all_from_the_batch_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for sequence in range(1, 100):
        journal.append(entry(sequence))
        if sequence % 10 == 0:
            journal.truncate_before(sequence - 4)
            assert sequences(journal, sequence - 5) == list(range(sequence - 4, sequence + 1))
            assert len(list(tmp_path.iterdir())) <= 2
    assert sequences(Journal(tmp_path), 85) == list(range(86, 100))


def test_a_missing_file_is_a_gap(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for sequence in range(1, 4):
        journal.append(entry(sequence))
        journal.truncate_before(0)
    sorted(tmp_path.iterdir())[1].unlink()
    with pytest.raises(StateError, match=r"wanted .* batch 2, found .* batch 3"):
        Journal(tmp_path)
    min(tmp_path.iterdir()).unlink()
    with pytest.raises(StateError, match="wanted the journal entry of batch 2"):
        list(Journal(tmp_path).entries(after=1))


def test_a_batch_out_of_turn_is_refused(tmp_path: Path) -> None:
    journal = written(tmp_path, 3)
    with pytest.raises(ValueError, match="wanted batch 3, got batch 5"):
        journal.append(entry(5))


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "00000000000000000001.journal").write_bytes(b"headrace journal 2\nwhatever")
    with pytest.raises(StateError, match=r"wanted .*journal 1.* found .*journal 2"):
        Journal(tmp_path)


def test_every_entry_that_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
import numpy as np
from streams.journal import Entry, Journal
journal = Journal(Path(sys.argv[1]))
for sequence in range(1, 1 << 40):
    journal.append(Entry(sequence, np.zeros((3, 4), np.int64), 0, bytes(16)))
    print(sequence, flush=True)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        for _ in range(500):
            child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
        acknowledged = 500 + len([line for line in child.stdout if line.endswith("\n")])
    assert len(sequences(Journal(tmp_path))) in {acknowledged, acknowledged + 1}


def test_a_full_disk_is_an_error_and_the_entries_before_it_are_good(small_disk: Path) -> None:
    with pytest.raises(OutputError, match=r"journal entry of batch .* free space there"):
        written(small_disk, 50_000)
    kept = sequences(Journal(small_disk))
    assert len(kept) > 100 and kept == list(range(1, len(kept) + 1))
