"""What is measured, started for the purpose: a broker, the jobs, the echo, each a process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import msgspec

from jobs.config import Settings
from jobs.load.clients import connection
from jobs.load.echo import Errand
from jobs.load.generator import Target
from jobs.load.topics import made
from jobs.stack.kafka import Kafka, KafkaSettings
from jobs.stack.ports import HOST, free_port
from jobs.stack.process import Process
from streams.errors import ServiceError
from streams.topics import LABELS, PREDICTIONS, TOPICS, TRANSACTIONS

START_S = 180.0
"""A job that starts on this machine for the first time compiles its kernels."""
STOP_S = 10.0
LOOK_S = 0.05
JOBS = {"score": "run", "learn": "learn"}
APPENDED = {"message.timestamp.type": "LogAppendTime"}


@contextmanager
def own_broker(folder: Path, settings: Settings) -> Iterator[tuple[Settings, dict[str, int]]]:
    """A broker in the folder: the settings that lead to it, and its process."""
    kafka = Kafka(folder / "kafka", KafkaSettings(port=free_port(), controller_port=free_port()))
    kafka.start()
    try:
        yield replace(settings, brokers=kafka.address), {"broker": kafka.pid or 0}
    finally:
        kafka.kill()


@contextmanager
def own_jobs(
    folder: Path, settings: Settings, processes: Mapping[str, int], *, learns: bool = True
) -> Iterator[Target]:
    """The score job and the learn job, ready, with state and topics that go with them."""
    topics = {settings.topic(topic.name): topic.settings for topic in TOPICS.values()}
    started = dict(processes)
    with ExitStack() as stack:
        stack.enter_context(made(connection(settings), topics))
        for name in ("score", "learn") if learns else ("score",):
            own = replace(settings, metrics_port=free_port())
            command = [sys.executable, "-m", "jobs.cli", JOBS[name]]
            process = stack.enter_context(running(folder, name, command, own.environment()))
            _await_ready(process, own.metrics_port)
            started[name] = process.pid or 0
        yield Target(
            name="headrace",
            events=settings.topic(TRANSACTIONS),
            labels=settings.topic(LABELS) if learns else "",
            predictions=settings.topic(PREDICTIONS),
            processes=started,
        )


@contextmanager
def echo(
    folder: Path, settings: Settings, processes: Mapping[str, int], size: int
) -> Iterator[Target]:
    """The floor, with topics of its own, emitting records of this size."""
    source, target = settings.topic("load-echo-in"), settings.topic("load-echo-out")
    errand = Errand(
        connection=connection(settings),
        source=source,
        target=target,
        bytes=size,
        commit_ms=settings.commit_ms,
    )
    command = [sys.executable, "-m", "jobs.load.echo", msgspec.json.encode(errand).decode()]
    topics = {source: APPENDED, target: APPENDED}
    with (
        made(connection(settings), topics),
        running(folder, "echo", command, {}) as process,
    ):
        yield Target(
            name="echo",
            events=source,
            predictions=target,
            processes={**processes, "echo": process.pid or 0},
        )


@contextmanager
def running(
    folder: Path, name: str, command: list[str], environment: Mapping[str, str]
) -> Iterator[Process]:
    """A process that ends with the context; what it says is in the folder."""
    process = Process(folder, name)
    process.start(command, {**os.environ, **environment})
    try:
        yield process
    finally:
        process.stop(STOP_S)


def _await_ready(process: Process, port: int) -> None:
    deadline = time.monotonic() + START_S
    while not _ready(port):
        if process.pid is None or time.monotonic() > deadline:
            raise ServiceError(f"{process.name} did not become ready; {process.tail()}")
        time.sleep(LOOK_S)


def _ready(port: int) -> bool:
    asked = HTTPConnection(HOST, port, timeout=5)
    try:
        asked.request("GET", "/readyz")
        return asked.getresponse().status == 200
    except OSError:
        return False
    finally:
        asked.close()
