"""A state folder has one owner."""

import subprocess
import sys
from pathlib import Path

import pytest

from streams.errors import StateError
from streams.ownership import own

HOLD = """
import sys
from pathlib import Path
from streams.ownership import own
with own(Path(sys.argv[1])):
    print("owned", flush=True)
    sys.stdin.read()
"""


def test_a_second_owner_is_told_the_first_ones_pid_and_a_kill_frees_the_folder(
    tmp_path: Path,
) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with first:
        assert first.stdout is not None and first.stdout.readline() == "owned\n"
        with pytest.raises(StateError, match=f"pid {first.pid} since 20.* owns it"), own(tmp_path):
            pass
        first.kill()
    with own(tmp_path):
        pass


def test_a_folder_is_free_again_after_the_block(tmp_path: Path) -> None:
    with own(tmp_path / "state"):
        pass
    with own(tmp_path / "state"), pytest.raises(StateError), own(tmp_path / "state"):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(StateError, match="state: wanted a folder"), own(tmp_path / "state"):
        pass
