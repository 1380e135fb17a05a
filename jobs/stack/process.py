"""A server process that outlives who started it, known by a pid file that cannot lie.

The file holds the pid and when that process started, so a pid that has gone to another process is
never taken for the server. The process waits until the file is written before it becomes the
server, so there is no instant at which a kill of the starter leaves a server that nobody knows.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from streams.atomic import write_whole
from streams.errors import ServiceError

POLL = 0.02
"""Seconds between two looks at a process."""
TAIL = 15
"""Lines of a log that an error shows."""
KILL_S = 10.0
WAIT_FOR_WORD = 'read -r word && exec "$@" </dev/null'


class Process:
    """One server, by the folder that holds `pid` and `log`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._file = folder / f"{name}.pid"

    @property
    def pid(self) -> int | None:
        """The server's pid while it runs (paused included), else None."""
        try:
            pid, _, birth = self._file.read_text(encoding="ascii").partition(" ")
        except FileNotFoundError:
            return None
        return int(pid) if birth and _birth(int(pid)) == birth else None

    def start(self, command: Sequence[str | Path], env: Mapping[str, str]) -> None:
        """Start the command in a session of its own; its output goes to a new log.

        The log of the run before is kept with `.1` behind its name. An absolute path is wanted for
        the command. Returns at once.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            self.log.replace(self.log.with_name(self.log.name + ".1"))
        waiting, word = os.pipe()
        try:
            new = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            pid = os.posix_spawn(
                "/bin/sh",
                ["sh", "-c", WAIT_FOR_WORD, "sh", *map(str, command)],
                env,
                setsid=True,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, waiting, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.fspath(self.log), new, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
            )
            write_whole(self._file, [f"{pid} {_birth(pid)}".encode("ascii")])
            os.write(word, b"\n")
        finally:
            os.close(waiting)
            os.close(word)

    def stop(self, seconds: float) -> None:
        """End it: politely, and after the given time by force. Returns when it has ended."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        if not self._ends_within(seconds):
            self._signal(signal.SIGKILL)
        self._gone()

    def kill(self) -> None:
        """End it as `kill -9` does. Returns when it has ended."""
        self._signal(signal.SIGKILL)
        self._gone()

    def pause(self) -> None:
        """Stop it where it is, connections open, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def tail(self) -> str:
        """The end of its log, with where the log is, for an error message."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        return "\n  ".join([f"the end of {self.log}:", *(lines[-TAIL:] or ["(empty)"])])

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(pid, number)

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.pid is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL)
        return True

    def _gone(self) -> None:
        if not self._ends_within(KILL_S):
            raise ServiceError(
                f"{self.name}: wanted process {self.pid} to end on SIGKILL, it is still there: "
                "the kernel holds it (a hung disk?); see `ps` and `dmesg`"
            )
        self._file.unlink(missing_ok=True)


def _birth(pid: int) -> str:
    """When the process started, in words that no other process shares; empty if it has ended.

    A process started here and ended is also taken from the kernel's table.
    """
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    if sys.platform != "linux":
        return _birth_by_ps(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The name, in parentheses, may hold blanks: what follows is state, …, threads, 0, start.
    after = fields.rpartition(")")[2].split()
    state, threads, started = after[0], int(after[17]), after[19]
    # A killed process is a zombie while its other threads still hold its ports.
    return "" if state in "ZX" and threads <= 1 else f"{boot.strip()} {started}"


def _birth_by_ps(pid: int) -> str:
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return "" if not shown or shown[0].startswith("Z") else " ".join(shown[1:])
