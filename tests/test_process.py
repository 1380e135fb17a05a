"""A server process is known by a pid file that cannot lie."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.stack import process as module
from jobs.stack.process import Process

SLEEP = ["/bin/sleep", "600"]
STUBBORN = ["/bin/sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path, "server")
    yield process
    process.kill()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_another_object_for_the_folder_sees_the_same_process(
    server: Process, tmp_path: Path
) -> None:
    server.start(SLEEP, {})
    other = Process(tmp_path, "server")
    assert other.pid == server.pid is not None
    other.kill()
    assert server.pid is None


def test_a_pid_that_went_to_another_process_is_never_killed(
    server: Process, tmp_path: Path
) -> None:
    server.start(SLEEP, {})
    pid = server.pid
    file = tmp_path / "server.pid"
    recorded = file.read_text()
    file.write_text(recorded[:-1] + str((int(recorded[-1]) + 1) % 10))
    assert server.pid is None
    server.kill()
    assert pid is not None
    os.kill(pid, 0)
    file.write_text(recorded)


def test_a_starter_that_dies_before_the_pid_is_written_leaves_no_process(
    server: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def die(_path: Path, pieces: list[bytes]) -> None:
        started.append(int(pieces[0].split()[0]))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_whole", die)
    with pytest.raises(KeyboardInterrupt):
        server.start(["/bin/sh", "-c", f"touch {tmp_path}/ran"], {})
    os.waitpid(started[0], 0)
    assert not (tmp_path / "ran").exists()


def test_a_server_is_in_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it(
    server: Process,
) -> None:
    server.start(SLEEP, {})
    assert server.pid is not None
    assert os.getsid(server.pid) == os.getpgid(server.pid) == server.pid


def test_a_server_deaf_to_sigterm_is_killed_after_the_time_it_was_given(server: Process) -> None:
    server.start(STUBBORN, {"PATH": "/bin:/usr/bin"})
    wait_for(lambda: "deaf" in server.log.read_text())
    server.stop(0.1)
    assert server.pid is None


def test_a_paused_server_runs_and_can_be_stopped(server: Process) -> None:
    server.start(SLEEP, {})
    server.pause()
    assert server.pid is not None
    server.stop(10)
    assert server.pid is None


def test_the_log_of_the_run_before_is_kept_and_an_error_shows_the_end_of_the_last(
    server: Process,
) -> None:
    for word in ("first", "second"):
        server.start(["/bin/sh", "-c", f"seq 100; echo {word}"], {"PATH": "/bin:/usr/bin"})
        wait_for(lambda: server.pid is None)
    assert server.log.with_name("server.log.1").read_text().endswith("first\n")
    tail = server.tail().splitlines()
    assert tail[0] == f"the end of {server.log}:"
    assert tail[-1] == "  second"
    assert len(tail) == 1 + module.TAIL
