"""The learn job beside the score job: a process of its own, kept alive, ended with it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from streams.closing import Closing

COMMAND = Path(__file__).parents[1] / "cli.py"
log = logging.getLogger("headrace")
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
END_SECONDS = 5.0


class Companion(Closing):
    """`headrace learn` in an environment, started again, ever later, when it ends by itself."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._pause = FIRST_PAUSE_SECONDS
        self._again_at = 0.0
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C reaches it through `close`, once scoring has stopped.
        return subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-P", str(COMMAND), "learn", "--with-parent", str(os.getpid())],
            env=self._environment,
            start_new_session=True,
        )

    def look_after(self) -> None:
        """Start it again if it has ended and its pause is over; scoring goes on meanwhile."""
        status = self._process.poll()
        if status is None:
            return
        now = time.monotonic()
        if not self._again_at:
            self._again_at = now + self._pause
            log.warning(
                "the learn job ended with status %d; scoring goes on, learning again in %.0f s",
                status,
                self._pause,
            )
        elif now >= self._again_at:
            self._again_at, self._pause = 0.0, min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            self._process = self._start()

    def close(self) -> None:
        """Ask it to commit and end, and wait for that."""
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
