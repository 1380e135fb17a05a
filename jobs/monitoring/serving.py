"""The port a job answers on: `/metrics`, `/healthz` and `/readyz`, from a thread of its own."""

from __future__ import annotations

import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from jobs.monitoring.exposition import CONTENT_TYPE, exposition
from jobs.monitoring.families import families
from jobs.monitoring.monitor import Monitor
from streams.closing import Closing
from streams.errors import ConfigError

HOST = "127.0.0.1"
PLAIN = "text/plain; charset=utf-8"
_PATIENCE_SECONDS = 5.0
"""A client that sends nothing for so long is hung up on."""


class Serving(Closing):
    r"""Answers for a monitor until it is closed; `port` is where, chosen freely if it was 0.

    >>> from urllib.request import urlopen
    >>> monitor = Monitor("score", pipeline="fraud", definition="9f3a")
    >>> with Serving(monitor, port=0) as serving:
    ...     urlopen(f"http://127.0.0.1:{serving.port}/healthz").read()
    b'ok\n'

    Raises ConfigError where the port cannot be had.
    """

    def __init__(self, monitor: Monitor, port: int, host: str = HOST) -> None:
        try:
            self._server = _Server((host, port), _Handler)
        except OSError as error:
            raise ConfigError(
                f"{host}:{port}: wanted this port for /metrics, got {error.strerror}; set "
                "metrics_port to a free one, or to 0 for any"
            ) from error
        self._server.monitor = monitor
        self.port: int = self._server.server_address[1]
        self._thread = Thread(
            target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Answer no more and give the port back."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    monitor: Monitor

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, unless it is a client that hung up."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "headrace"
    sys_version = ""
    timeout = _PATIENCE_SECONDS

    def do_GET(self) -> None:
        """Answer one of the three paths."""
        monitor = self.server.monitor
        match self.path.partition("?")[0]:
            case "/metrics":
                self._answer(HTTPStatus.OK, exposition(families(monitor)), CONTENT_TYPE)
            case "/healthz":
                self._state("ok", monitor.unhealthy())
            case "/readyz":
                self._state("ready", monitor.not_ready())
            case _:
                paths = b"there are /metrics, /healthz and /readyz\n"
                self._answer(HTTPStatus.NOT_FOUND, paths, PLAIN)

    do_HEAD = do_GET  # noqa: N815 - the name http.server looks for

    def _state(self, good: str, problems: list[str]) -> None:
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        self._answer(status, "\n".join([*(problems or [good]), ""]).encode(), PLAIN)

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a scrape every few seconds is no news."""
