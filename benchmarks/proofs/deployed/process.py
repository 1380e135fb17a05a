"""`headrace run` or `headrace learn` as a process that is killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.proofs.proof import BrokenError
from jobs.config import Settings

ROOT = Path(__file__).parents[3]
STOP_SECONDS = 60.0
"""It promises to commit within two; a machine that is busy may take longer."""
AWAY_SECONDS = 15.0
"""For so long after an outage a process may give up for it: it waits 10 s for an answer."""
TAIL = 3000
ENDLESS = "a transaction that would change them has no end"


class LeftOpenError(Exception):
    """Kafka left a transaction without an end; nothing can be said of the jobs."""


class JobProcess:
    """One job through all its processes, each beginning where the one before it ended."""

    def __init__(self, command: str, settings: Settings, log: Path) -> None:
        self.starts = self.kills = self.given_up = 0
        self.began = 0.0
        """When the last process was started, on the monotonic clock."""
        self._command = [sys.executable, "-m", "jobs.cli", command]
        self._environment = os.environ | settings.environment()
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start a process."""
        with self._log.open("ab") as log:
            log.write(f"--- start {self.starts}\n".encode())
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        self.starts += 1
        self.began = time.monotonic()

    def kill(self) -> None:
        """End it by SIGKILL, and start the next."""
        if self._end(signal.SIGKILL):
            self.kills += 1
        self.start()

    def look(self, away_at: float) -> None:
        """Start it again if it gave up, which it may only while the broker is away.

        `away_at`: when it was away last. Raises BrokenError if it ended for another reason,
        LeftOpenError if Kafka left a transaction without an end.
        """
        if self._process is None or (status := self._process.poll()) is None:
            return
        if ENDLESS in self.said():
            raise LeftOpenError(self.said())
        if status != 1 or time.monotonic() - away_at > AWAY_SECONDS or "Traceback" in self.said():
            raise BrokenError(f"{self._log}: ended with status {status}: {self.said()}")
        self.given_up += 1
        self.start()

    def stop(self) -> None:
        """End it by SIGTERM; BrokenError if it does not end well."""
        self._end(signal.SIGTERM)
        assert self._process is not None
        if self._process.returncode:
            raise BrokenError(
                f"{self._log}: stopped with {self._process.returncode}: {self.said()}"
            )
        self._process = None

    def said(self) -> str:
        """The end of its log."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-TAIL:]

    def _end(self, number: signal.Signals) -> bool:
        """Whether it was still there."""
        assert self._process is not None
        there = self._process.poll() is None
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.close()
            raise BrokenError(
                f"{self._log}: not ended {STOP_SECONDS:.0f} s after {number.name}: {self.said()}"
            ) from None
        return there

    def close(self) -> None:
        """Leave nothing behind."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def run_to_end(settings: Settings, *words: str) -> str:
    """What a command of ours says; BrokenError with all of it if its status is not 0."""
    command = [sys.executable, "-m", "jobs.cli", *words]
    environment = os.environ | settings.environment()
    run = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise BrokenError(f"{' '.join(words)}: {run.returncode}: {run.stdout}{run.stderr}")
    return run.stdout
