"""What is loaded was committed whole, whatever the process and the disk went through."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from streams.errors import OutputError, StateError
from streams.snapshots import Snapshots, State

PLAIN = st.sampled_from(["<i8", "<f8", "|u1", "|b1", "<i4", "<U7", "<M8[us]"])
ARRAYS = PLAIN.flatmap(
    lambda dtype: arrays_of.arrays(np.dtype(dtype), arrays_of.array_shapes(min_dims=0, min_side=0))
)
LIVES = """
import os, random, signal, sys
from pathlib import Path
import numpy as np
from streams.snapshots import Snapshots

def batch_of(state):
    batch = state.meta["batch"] if state else 0
    if state:
        keys = np.concatenate([state.arrays["keys"], *state.deltas["keys"]])
        assert np.array_equal(keys, np.arange(batch)) and not state.damage
        assert (state.arrays["weights"] == batch).all()
    return batch

def live(folder, acknowledged, operation, seconds):
    def perhaps_die(event, _):
        nonlocal operation
        if event in {"open", "os.rename", "os.remove"}:
            operation -= 1
            if operation == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    snapshots = Snapshots(folder, "p")
    batch = batch_of(snapshots.load())
    os.pwrite(acknowledged, batch.to_bytes(8, "little"), 0)
    sys.addaudithook(perhaps_die)
    signal.setitimer(signal.ITIMER_REAL, seconds)  # unhandled, its signal ends the process at once
    while True:
        batch += 1
        arrays = {"weights": np.full(20_000, batch)}
        if snapshots.wants_base:
            snapshots.commit({"keys": np.arange(batch), **arrays}, {"batch": batch})
        else:
            snapshots.commit(arrays, {"batch": batch}, {"keys": np.array([batch - 1])})
        os.pwrite(acknowledged, batch.to_bytes(8, "little"), 0)

folder, draw = Path(sys.argv[1]), random.Random(7)
acknowledged = os.open(folder.parent / "acknowledged", os.O_RDWR | os.O_CREAT)
for life in range(int(sys.argv[2])):
    pid = os.fork()
    if pid == 0:
        seconds = 0 if life % 2 else draw.uniform(1e-3, 2e-2)
        live(folder, acknowledged, life if life % 2 else -1, seconds)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1])
    batch = int.from_bytes(os.pread(acknowledged, 8, 0), "little")
    pid = os.fork()
    if pid == 0:
        assert batch_of(Snapshots(folder, "p").load()) in {batch, batch + 1}
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
print(batch)
"""


def committed(folder: Path, stop: int) -> Snapshots:
    """Commit batches 1 to stop − 1, the first with all keys, the others with one more each."""
    snapshots = Snapshots(folder, "p")
    snapshots.commit({"keys": np.arange(1000), "batch": np.array(1)}, {"batch": 1})
    for batch in range(2, stop):
        keys = {"keys": np.array([998 + batch])}
        snapshots.commit({"batch": np.array(batch)}, {"batch": batch}, keys)
    return snapshots


def loaded(folder: Path) -> State:
    state = Snapshots(folder, "p").load()
    assert state is not None
    assert state.arrays["batch"] == state.meta["batch"]
    keys = np.concatenate([state.arrays["keys"], *state.deltas["keys"]])
    assert np.array_equal(keys, np.arange(999 + state.meta["batch"]))
    return state


def flip(path: Path, byte: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[byte] ^= 16
    path.write_bytes(raw)


@given(
    given_arrays=st.dictionaries(st.text(max_size=5), ARRAYS, max_size=4),
    meta=st.dictionaries(
        st.text(max_size=5),
        st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    ),
)
def test_arrays_and_meta_come_back_as_they_were_given(
    tmp_path_factory: pytest.TempPathFactory,
    given_arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.int64]]],
    meta: dict[str, float],
) -> None:
    folder = tmp_path_factory.mktemp("snapshots")
    Snapshots(folder, "p").commit(given_arrays, meta)
    state = Snapshots(folder, "p").load()
    assert state is not None
    assert state.meta == meta
    assert state.arrays.keys() == given_arrays.keys()
    for name, array in given_arrays.items():
        assert state.arrays[name].dtype == array.dtype and state.arrays[name].shape == array.shape
        assert state.arrays[name].tobytes() == array.tobytes()


def test_an_array_given_in_pieces_comes_back_whole(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, "p")
    snapshots.commit({"keys": [np.arange(5), np.arange(0), np.arange(5, 9)]}, {})
    snapshots.commit({}, {}, {"keys": [np.arange(9, 11), np.arange(11, 12)]})
    state = Snapshots(tmp_path, "p").load()
    assert state is not None and not state.damage
    assert np.array_equal(state.arrays["keys"], np.arange(9))
    assert [delta.tolist() for delta in state.deltas["keys"]] == [[9, 10, 11]]


def test_nothing_committed_is_nothing_loaded(tmp_path: Path) -> None:
    assert Snapshots(tmp_path, "p").load() is None


def test_deltas_come_back_in_order_across_restarts(tmp_path: Path) -> None:
    committed(tmp_path, 10).close()
    snapshots = Snapshots(tmp_path, "p")
    snapshots.load()
    snapshots.commit({"batch": np.array(10)}, {"batch": 10}, {"keys": np.array([1008])})
    assert [int(each[0]) for each in loaded(tmp_path).deltas["keys"]] == list(range(1000, 1009))


def test_an_array_given_whole_again_begins_a_new_chain_and_old_files_go(tmp_path: Path) -> None:
    snapshots = committed(tmp_path, 10)
    assert len(list(tmp_path.glob("*.arrays"))) == 9
    for batch in (10, 11):
        snapshots.commit(
            {"keys": np.arange(999 + batch), "batch": np.array(batch)}, {"batch": batch}
        )
    assert loaded(tmp_path).deltas["keys"] == []
    assert len(list(tmp_path.iterdir())) == 4


def test_a_whole_array_is_due_when_its_deltas_outgrow_it(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, "p")
    assert snapshots.wants_base
    snapshots.commit({"keys": np.arange(100)}, {})
    wanted = []
    for _ in range(3):
        snapshots.commit({}, {}, {"keys": np.arange(40)})
        wanted.append(snapshots.wants_base)
    assert wanted == [False, False, True]


def test_what_could_not_be_given_back_is_refused_when_it_is_given(tmp_path: Path) -> None:
    snapshots = committed(tmp_path, 2)
    with pytest.raises(ValueError, match="'other' is not one"):
        snapshots.commit({}, {}, {"other": np.arange(2)})
    with pytest.raises(ValueError, match="plain dtype, got object"):
        snapshots.commit({"keys": np.array([None])}, {})
    with pytest.raises(ValueError, match="not JSON compliant"):
        snapshots.commit({}, {"score": np.nan})


def test_a_state_killed_anywhere_is_one_that_was_committed(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LIVES, str(tmp_path / "state"), "60"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 60


@pytest.mark.parametrize("kind", ["snapshot", "arrays"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_damage_to_the_newest_is_noticed_and_the_one_before_stands_in(
    tmp_path: Path, kind: str, harm: str
) -> None:
    committed(tmp_path, 5)
    newest = max(tmp_path.glob(f"*.{kind}"))
    if harm == "flip":
        flip(newest, -3)
    elif harm == "cut":
        os.truncate(newest, newest.stat().st_size - 3)
    else:
        newest.unlink()
    state = loaded(tmp_path)
    assert state.meta == {"batch": 3}
    assert len(state.damage) == ((kind, harm) != ("snapshot", "remove"))


def test_every_byte_of_a_snapshot_is_covered_by_a_checksum(tmp_path: Path) -> None:
    committed(tmp_path, 3)
    newest = max(tmp_path.glob("*.snapshot"))
    for byte in range(newest.stat().st_size):
        flip(newest, byte)
        assert loaded(tmp_path).meta == {"batch": 1}
        flip(newest, byte)
    assert loaded(tmp_path).meta == {"batch": 2}


def test_damage_to_what_both_snapshots_need_is_refused(tmp_path: Path) -> None:
    committed(tmp_path, 5)
    flip(min(tmp_path.glob("*.arrays")), 0)
    with pytest.raises(StateError, match=r"000001.arrays: does not have .* headrace replay"):
        Snapshots(tmp_path, "p").load()


def test_after_damage_the_next_commit_follows_the_one_that_stood_in(tmp_path: Path) -> None:
    committed(tmp_path, 5)
    flip(max(tmp_path.glob("*.snapshot")), 60)
    snapshots = Snapshots(tmp_path, "p")
    snapshots.load()
    snapshots.commit({"batch": np.array(4)}, {"batch": 4}, {"keys": np.array([1002])})
    assert loaded(tmp_path).damage == ()
    assert len(list(tmp_path.glob("*.snapshot"))) == 2


def test_another_pipelines_state_is_refused(tmp_path: Path) -> None:
    committed(tmp_path, 2)
    with pytest.raises(StateError, match=r"wanted .* pipeline q, found .* pipeline p; .* NEWDIR"):
        Snapshots(tmp_path, "q").load()


def test_another_pipelines_state_is_given_where_asked_for_and_then_replaced_whole(
    tmp_path: Path,
) -> None:
    Snapshots(tmp_path, "p").commit({"keys": np.arange(3)}, {"batch": 1})
    snapshots = Snapshots(tmp_path, "q")
    state = snapshots.load(foreign=True)
    assert state
    assert (state.pipeline, state.meta, state.arrays["keys"].tolist()) == (
        "p",
        {"batch": 1},
        [0, 1, 2],
    )
    assert snapshots.wants_base
    snapshots.commit({"keys": np.arange(2)}, {"batch": 1})
    again = Snapshots(tmp_path, "q").load()
    assert again
    assert (again.pipeline, again.arrays["keys"].tolist()) == ("q", [0, 1])
    with pytest.raises(StateError, match="pipeline p, found that of pipeline q"):
        Snapshots(tmp_path, "p").load()


def test_another_format_is_refused_even_where_an_older_snapshot_could_be_read(
    tmp_path: Path,
) -> None:
    committed(tmp_path, 3)
    body = b"anything at all"
    head = f"headrace snapshot 2 {zlib.crc32(body, 2):08x}\n".encode()
    (tmp_path / "000000000003.snapshot").write_bytes(head + body)
    with pytest.raises(StateError, match="wanted snapshot format 1, found format 2"):
        Snapshots(tmp_path, "p").load()


def test_what_a_crash_left_half_written_is_removed_at_opening(tmp_path: Path) -> None:
    committed(tmp_path, 3)
    names = {path.name for path in tmp_path.iterdir()}
    (tmp_path / "000000000003.arrays").write_bytes(b"whole, but its snapshot never came")
    (tmp_path / "000000000004.arrays.tmp").write_bytes(b"half")
    Snapshots(tmp_path, "p")
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize("fsync", [False, True])
def test_a_commit_is_written_while_the_caller_goes_on(tmp_path: Path, fsync: bool) -> None:
    snapshots = Snapshots(tmp_path, "p", fsync=fsync)
    written = snapshots.commit_async({"keys": np.arange(1_000_000)}, {"batch": 1})
    snapshots.commit_async({}, {"batch": 2}, {"keys": np.arange(5)})
    assert written.done()
    snapshots.close()
    assert not snapshots.busy
    state = Snapshots(tmp_path, "p").load()
    assert state is not None and len(state.deltas["keys"][0]) == 5


def test_a_full_disk_is_an_error_at_the_next_call_and_the_snapshot_before_is_good(
    small_disk: Path,
) -> None:
    snapshots = committed(small_disk, 4)
    snapshots.commit_async({"keys": np.arange(1_000_000)}, {"batch": 4})
    with pytest.raises(OutputError, match=r"wanted 8,000,000 bytes .* free space there"):
        snapshots.commit({"batch": np.array(5)}, {"batch": 5})
    with pytest.raises(OutputError):
        snapshots.close()
    assert loaded(small_disk).meta == {"batch": 3}
    assert not list(small_disk.glob("*.tmp"))
