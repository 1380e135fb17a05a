"""Loopback ports: whether one is free, and a free one for a test."""

from __future__ import annotations

import random
import socket

from streams.errors import ConfigError

HOST = "127.0.0.1"
"""All that the stack listens on."""
TEST_PORTS = range(12_000, 32_000)
"""Below those that systems hand to outgoing connections: while a server is down, no client can
take its port, nor by chance connect to itself there."""


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether something takes connections on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def want_free(name: str, option: str, port: int) -> None:
    """Raise ConfigError, naming the port and the option that changes it, if it is taken."""
    if not is_free(port):
        raise ConfigError(
            f"{name}: wanted port {port} of {HOST}, but another process listens there "
            f"(`ss -ltnp 'sport = :{port}'` shows which); stop it or choose another by {option}"
        )


def free_port() -> int:
    """A port that is free now, drawn at random from `TEST_PORTS`."""
    return next(port for port in iter(lambda: random.choice(TEST_PORTS), None) if is_free(port))
