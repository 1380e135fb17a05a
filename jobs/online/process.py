"""The process that writes, as seen from the one that scores."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from io import BufferedRWPair
from typing import NamedTuple

import msgspec

from jobs.online.writer import Chunk, Written, receive, send
from streams.errors import OutputError

STEP_SECONDS = 0.05
"""While it writes, other work is let in so often."""


class _Running(NamedTuple):
    process: subprocess.Popen[bytes]
    pipe: BufferedRWPair
    answer: select.poll
    """Knows whether there is something to read."""


class WriterProcess:
    """Started with the first chunk, and again with the next if it ended."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._running: _Running | None = None

    def write(self, chunk: Chunk, idle: Callable[[], None]) -> Written:
        """Have a chunk written. `idle` is called meanwhile; what it raises ends the process.

        Raises OutputError if the process ends before it has said how far it came.
        """
        done = False
        try:
            answer = self._ask(msgspec.msgpack.encode(chunk), idle)
            if answer is None:
                raise OutputError("online: the process that writes has ended; it is started again")
            written = msgspec.msgpack.decode(answer, type=Written)
            done = True
            return written
        except OSError as error:
            raise OutputError(f"online: the process that writes: {error.strerror}") from error
        finally:
            if not done:
                self.close()

    def _ask(self, message: bytes, idle: Callable[[], None]) -> bytes | None:
        if self._running is None:
            self._running = self._start()
        _, pipe, answer = self._running
        send(pipe, message)
        while not answer.poll(1000 * STEP_SECONDS):
            idle()
        return receive(pipe)

    def _start(self) -> _Running:
        """Start it in a session of its own, where no Ctrl-C reaches it; it ends with its input."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "jobs.online.writer"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                start_new_session=True,
            )
            pipe, answer = ours.makefile("rwb"), select.poll()
            answer.register(ours, select.POLLIN)
        send(pipe, self._url.encode())
        return _Running(process, pipe, answer)

    def close(self) -> None:
        """End it at once."""
        if self._running is None:
            return
        process, pipe, _ = self._running
        self._running = None
        process.kill()
        process.wait()
        with suppress(OSError):
            pipe.close()
