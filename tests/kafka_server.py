"""Real servers for tests: one broker and one Valkey per test session, on ports of their own.

A test names the fixture `kafka_broker` or `redis_server`. The workers of pytest-xdist share the
servers, and so do all tests: name topics by `unique("transactions")`. A test of an outage asks for
a server of its own: `own_kafka` or `own_redis`.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest

from jobs.stack.kafka import Kafka, KafkaSettings
from jobs.stack.ports import free_port
from jobs.stack.redis import Redis, RedisSettings
from jobs.stack.security import Security

# Waits until the last user has let go of the lock, however it ended, then ends the server.
JANITOR = """
import fcntl, sys
from pathlib import Path
from jobs.stack.process import Process
with Path(sys.argv[1], "users").open() as users:
    fcntl.flock(users, fcntl.LOCK_EX)
    Process(Path(sys.argv[1]), sys.argv[2]).kill()
"""
Server = TypeVar("Server", Kafka, Redis)


def unique(name: str) -> str:
    """Return a name that no other test uses."""
    return f"{name}-{uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker that all tests share; leave it up."""
    with _shared(_root(tmp_path_factory) / "kafka", Kafka.at, new_kafka) as broker:
        yield broker


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Valkey server that all tests share; leave it up and use keys of your own."""
    with _shared(_root(tmp_path_factory) / "redis", Redis.at, new_redis) as server:
        yield server


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Kafka]:
    """A broker of the test's own, up: to be killed, paused and restarted."""
    broker = new_kafka(tmp_path / "kafka")
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Redis]:
    """A Valkey server of the test's own, up."""
    server = new_redis(tmp_path / "redis")
    try:
        server.start()
        yield server
    finally:
        server.kill()


def new_kafka(folder: Path, security: Security | None = None) -> Kafka:
    """Return a broker on free ports, not started; small, and quick to start."""
    settings = KafkaSettings(
        port=free_port(),
        controller_port=free_port(),
        heap_mb=256,
        flags=("-XX:TieredStopAtLevel=1",),
        security=security,
    )
    return Kafka(folder, settings)


def new_redis(folder: Path) -> Redis:
    """Return a server on a free port, not started."""
    return Redis(folder, RedisSettings(port=free_port()))


def _leave_janitor(folder: Path, name: str) -> None:
    command = [sys.executable, "-c", JANITOR, str(folder), name]
    subprocess.run(["sh", "-c", '"$@" &', "sh", *command], check=True)


def _root(factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the workers of a session share."""
    base = factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@contextmanager
def _shared(
    folder: Path, at: Callable[[Path], Server | None], new: Callable[[Path], Server]
) -> Iterator[Server]:
    folder.mkdir(exist_ok=True)
    with (folder / "users").open("w") as users, (folder / "starting").open("w") as starting:
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(starting, fcntl.LOCK_EX)
        server = at(folder)
        if server is None or server.pid is None:
            server = new(folder)
            _leave_janitor(folder, server.name)
            server.start()
        fcntl.flock(starting, fcntl.LOCK_UN)
        yield server
