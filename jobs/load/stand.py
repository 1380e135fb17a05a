"""What is measured, started for the purpose: a broker, the jobs, the echo, each a process."""

from __future__ import annotations

import math
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import msgspec

from jobs.config import Settings
from jobs.load.clients import connection
from jobs.load.echo import Errand
from jobs.load.generator import Target
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
ECHO_IN, ECHO_OUT = "load-echo-in", "load-echo-out"
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


def job_topics(settings: Settings) -> dict[str, Mapping[str, str]]:
    """The topics of a deployment, by their full names, with the broker's settings of each."""
    return {settings.topic(topic.name): topic.settings for topic in TOPICS.values()}


@contextmanager
def own_jobs(
    folder: Path, settings: Settings, processes: Mapping[str, int], *, learns: bool = True
) -> Iterator[Target]:
    """The score job and, if it `learns`, the learn job, ready; their topics are there."""
    started = dict(processes)
    port = free_port()
    with ExitStack() as stack:
        for name in ("learn", "score") if learns else ("score",):
            own = replace(settings, metrics_port=port if name == "score" else free_port())
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
            metric=partial(_metric, port),
        )


def echo_topics(settings: Settings) -> dict[str, Mapping[str, str]]:
    """What the echo reads and what it writes."""
    return {settings.topic(ECHO_IN): APPENDED, settings.topic(ECHO_OUT): APPENDED}


@contextmanager
def own_echo(
    folder: Path, settings: Settings, processes: Mapping[str, int], size: int
) -> Iterator[Target]:
    """The floor, emitting records of this size; its topics are there."""
    source, target = settings.topic(ECHO_IN), settings.topic(ECHO_OUT)
    errand = Errand(
        connection=connection(settings),
        source=source,
        target=target,
        bytes=size,
        commit_ms=settings.commit_ms,
        linger_ms=settings.linger_ms,
    )
    command = [sys.executable, "-m", "jobs.load.echo", msgspec.json.encode(errand).decode()]
    with running(folder, "echo", command, {}) as process:
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
    try:
        return _asked(port, "/readyz")[0] == 200
    except OSError:
        return False


def _metric(port: int, name: str) -> float:
    """The metric of this name without labels, or the sum over its labels; nan without any."""
    found = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", _asked(port, "/metrics")[1], re.MULTILINE)
    return sum(map(float, found)) if found else math.nan


def _asked(port: int, path: str) -> tuple[int, str]:
    with closing(HTTPConnection(HOST, port, timeout=5)) as asked:
        asked.request("GET", path)
        answer = asked.getresponse()
        return answer.status, answer.read().decode()
