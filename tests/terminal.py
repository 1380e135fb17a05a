"""The lines of the README and of pages, run as they stand there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from jobs.stack.ports import free_port

ROOT = Path(__file__).parents[1]
PATIENCE_S = 120.0


class Terminal:
    """Where a user types: an environment, a folder, the project's programs.

    `ports` are the options of `up` that give the services ports of the test's own.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        given = {option: str(free_port()) for option in options}
        self.ports = [word for option in given.items() for word in option]
        self.address = f"127.0.0.1:{given['--kafka-port']}"
        self.environment = os.environ | {
            "HEADRACE_STACK_FOLDER": str(folder / "stack"),
            "HEADRACE_BROKERS": self.address,
        }
        self._numbers = iter(range(100))

    def command(self, line: str) -> list[str]:
        words = line.partition("#")[0].split()
        assert words[:2] == ["uv", "run"]
        return [str(Path(sys.executable).parent / words[2]), *words[3:]]

    def call(self, line: str, *more: str) -> str:
        command = [*self.command(line), *more]
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def running(self, command: list[str]) -> Iterator[Path]:
        """A command that goes on until Ctrl-C; what it writes to."""
        log = self.folder / f"{next(self._numbers)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, env=self.environment, cwd=self.folder, stdout=out, stderr=out
            )
        try:
            yield log
            assert process.poll() is None, log.read_text()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)


def predictions(log: Path) -> list[dict[str, Any]]:
    """What `subscribe predictions` has written as lines of JSON."""
    return [orjson.loads(line) for line in log.read_bytes().split(b"\n")[:-1] if line[:1] == b"{"]
