"""A deployment for tests: topics of its own on a real broker, jobs as processes, their output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from jobs.clients.topic_reader import TopicReader
from jobs.clients.topics import create_topics
from jobs.stack.kafka import Kafka
from streams.broker import Headers, Run
from streams.kafka import Kafka as Client
from streams.kafka import Security
from tests.kafka_server import unique

PATIENCE_S = 90.0
"""How long a test waits for what must come; machines that run tests are slow."""


class Deployment:
    """Topics with a prefix of their own, and a folder for the state of the jobs."""

    def __init__(
        self, kafka: Kafka, folder: Path, security: Security | None = None, **settings: object
    ) -> None:
        self.prefix = unique("test") + "."
        self.folder = folder
        self.client = Client(kafka.bootstrap, security)
        create_topics(kafka.bootstrap, self.prefix, security)
        given: dict[str, object] = {
            "brokers": kafka.bootstrap,
            "prefix": self.prefix,
            "group": self.prefix + "jobs",
        }
        given |= {"state": folder / "state", "commit_ms": 50, "snapshot_seconds": 1} | settings
        self.environment = os.environ | {
            f"HEADRACE_{name.upper()}": str(value) for name, value in given.items()
        }
        self._producer = self.client.producer()
        self.admin = AdminClient(kafka.client())

    def send(
        self,
        topic: str,
        records: Sequence[bytes],
        keys: Sequence[bytes] | None = None,
        headers: Sequence[Headers | None] | None = None,
    ) -> None:
        """Publish as a user's program does."""
        self._producer.send(self.prefix + topic, records, keys, headers)
        assert self._producer.flush(PATIENCE_S)

    def pay(self, first: int, count: int, **fields: object) -> None:
        """Publish transactions numbered from `first` on, a minute apart from 2024-03-01."""
        self.send("transactions", [transaction(first + place, **fields) for place in range(count)])

    def read(self, topic: str) -> list[Any]:
        """All there is in a topic, decoded."""
        return [orjson.loads(value or b"null") for run in self.runs(topic) for value in run.values]

    def runs(self, topic: str) -> list[Run]:
        """All there is in a topic, as it was taken."""
        with TopicReader(self.client, self.prefix + topic) as reader:
            return list(reader.to_end())

    def amount(self, topic: str) -> int:
        """How many records there are in a topic that no transaction wrote to."""
        with TopicReader(self.client, self.prefix + topic) as reader:
            return sum(end - first for first, end in reader.bounds)

    def predicted(self) -> list[str]:
        """The ids that have a prediction, in the topic's order."""
        return [each["id"] for each in self.read("predictions")]

    def wait_until_committed(self, count: int, job: Job) -> None:
        """Return once what was made of so many transactions is the broker's for good."""
        group, topic = f"{self.prefix}jobs", f"{self.prefix}transactions"
        asked = [ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])]

        def committed() -> int:
            answer = self.admin.list_consumer_group_offsets(asked)[group].result()
            return int(answer.topic_partitions[0].offset)

        until(lambda: committed() == count, f"{count} to be committed", job.log)

    def run_to_end(self, transactions: int, predictions: int) -> None:
        """Let `headrace run` take so many transactions, until all it makes of them is there."""
        with self.running() as job:
            self.wait_for(predictions, job)
            self.wait_until_committed(transactions, job)

    def wait_for(self, count: int, job: Job) -> list[str]:
        """The ids that have a prediction, once there are so many."""
        until(lambda: len(self.predicted()) >= count, f"{count} predictions", job.log)
        return self.predicted()

    @contextmanager
    def running(self, *command: str, name: str = "run", **settings: object) -> Iterator[Job]:
        """`headrace run`, or another command, as a process; killed if it is still there after."""
        environment = self.environment | {
            f"HEADRACE_{key.upper()}": str(value) for key, value in settings.items()
        }
        job = Job(command or ("run",), environment, self.folder / f"{name}.log")
        try:
            yield job
        finally:
            job.kill()


class Job:
    """A job's process, and its log."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jobs.cli", *command],
                env=environment,
                stderr=file,
                stdout=file,
                cwd=Path(__file__).parents[1],
                start_new_session=True,
            )

    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text()

    def began(self) -> Job:
        """Itself, once it has said how it begins."""
        until(lambda: "partitions, order" in self.log(), "the job to begin", self.log)
        return self

    def rss_mb(self) -> float:
        """Its resident memory."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def stall(self) -> None:
        """Stop its clock, as a swapped-out or debugged process."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Go on after `stall`."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Ask it to end; its status."""
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def ended(self) -> int:
        """Its status, once it has ended by itself."""
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """End it at once."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def transaction(number: int, **fields: object) -> bytes:
    """A transaction's record."""
    time_us = 1_709_251_200_000_000 + number * 60_000_000
    paid = {"id": f"t{number}", "time": time_us, "customer": f"c{number % 50}"}
    return orjson.dumps(paid | {"terminal": f"s{number % 20}", "amount": 12.5} | fields)


def until(what: Callable[[], bool], wanted: str, log: Callable[[], str]) -> None:
    """Wait until it holds; an assertion with the log when it does not in time."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, (
            f"waited {PATIENCE_S:.0f} s for {wanted}\n{log()[-3000:]}"
        )
        time.sleep(0.05)
