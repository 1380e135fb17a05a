"""Replays on demand, each in a process of its own that may be killed.

A line of JSON on standard input asks for a replay, and may say when it is to be killed: after some
seconds, or before its file operation of some number. A process is forked for it, which has imported
and compiled everything already, so that a kill hits the replay and not the interpreter's start.
When it has ended, its exit status is said on standard output: 0, or −9 for one that was killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from jobs.replay import replay
from jobs.settings import Inputs
from jobs.simulate import simulate

PIPELINE = Path(__file__).parent / "watched.py"
"""The one that is replayed: alarms tell of every bucket."""
FILE_OPERATIONS = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}
"""Audit events of Python; reads and writes of a file that is open are not among them."""


def carry(ask: dict[str, Any], folder: Path) -> None:
    """Do what `headrace replay --state FOLDER/state --out FOLDER/out` does, with more snapshots."""
    inputs = Inputs.asked(
        [Path(ask["file"])],
        columns=ask["columns"],
        label_delay=ask["label_delay"],
        pipeline=str(PIPELINE),
        until=None,
        order=ask["order"],
        batch_size=ask["batch_size"],
        state=folder / "state",
    )
    replay(inputs, folder / "out", resume=True, snapshot_seconds=ask["snapshot_seconds"])


def count_operations(kill_before: int | None) -> Iterator[int]:
    """Count this process's file operations, and kill it before that of this number."""
    numbers = count(1)

    def audit(event: str, _: tuple[Any, ...]) -> None:
        if event in FILE_OPERATIONS and next(numbers) == kill_before:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)
    return numbers


def warm() -> None:
    """Replay a little, so that every kernel is loaded."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "few.ndjson"
        simulate(file, [], {"events": 2000, "per_day": 100, "customers": 50, "terminals": 50})
        ask = {"file": file, "columns": {}, "label_delay": None, "order": "arrival"}
        carry(ask | {"batch_size": 512, "snapshot_seconds": 0.0}, Path(name))


def forked(ask: dict[str, Any]) -> int:
    """The id of a process that replays what is asked; what it has to say goes to FOLDER/log."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        log = os.open(Path(ask["folder"]) / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        operations = count_operations(ask["kill_before"])
        carry(ask, Path(ask["folder"]))
        (Path(ask["folder"]) / "operations").write_text(str(next(operations)))
        status = 0
    except BaseException:  # noqa: BLE001  the parent hears of it by the status
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def ended(process: int, kill_after: float | None) -> int:
    """Wait for the process, and kill it if it takes longer; its exit status."""
    if kill_after is not None:
        deadline = time.monotonic() + kill_after
        while (left := deadline - time.monotonic()) > 0:
            over, status = os.waitpid(process, os.WNOHANG)
            if over:
                return os.waitstatus_to_exitcode(status)
            time.sleep(min(left, 0.01))
        os.kill(process, signal.SIGKILL)  # not waited for yet, so the id is still its own
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def serve() -> None:
    """Until standard input ends."""
    warm()
    print("ready", flush=True)
    for line in sys.stdin:
        ask = json.loads(line)
        print(ended(forked(ask), ask["kill_after"]), flush=True)


if __name__ == "__main__":
    serve()
