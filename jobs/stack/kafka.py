"""One node of Apache Kafka (KRaft: broker and controller in one process) on loopback."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

import msgspec

from jobs.stack import security
from jobs.stack.jars import fetch, jars_folder
from jobs.stack.java import LEAN, SHORT_RUN, environment, java
from jobs.stack.ports import HOST, answers, want_free
from jobs.stack.process import Process
from jobs.stack.security import BROKER, MECHANISM, Certificate, Security
from streams.atomic import write_whole
from streams.errors import ConfigError, ServiceError

CLUSTER = "aGVhZHJhY2Utc3RhY2sxMA"  # 16 bytes in base64, as Kafka wants an id
START_S = 60.0
"""A start takes 2 to 3 s alone on two cores; a loaded machine gets longer."""
STOP_S = 20.0
LOG4J = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = org.apache.kafka.common.utils.AppInfoParser
logger.server.level = info
logger.kafka.name = kafka.server
logger.kafka.level = info
"""


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a broker is started with."""

    port: int = 9092
    controller_port: int = 9093
    heap_mb: int = 512
    security: Security | None = None


class Kafka:
    """A broker by its folder: logs, settings and records stay there from one start to the next.

    `start` and `stop` may be called in any state; `kill`, `pause` and `resume` are the outages of
    a test. Objects for one folder in several processes see one broker.
    """

    name: ClassVar = "kafka"

    def __init__(self, folder: Path, settings: KafkaSettings | None = None) -> None:
        self.folder = folder.absolute()
        self.settings = settings or KafkaSettings()
        self.certificate = Certificate(self.folder / "tls")
        self._process = Process(self.folder, self.name)
        self._kept = self.folder / "settings.json"

    @classmethod
    def at(cls, folder: Path) -> Kafka | None:
        """The broker of a folder as it was last started, or None where there never was one."""
        try:
            kept = (folder / "settings.json").read_bytes()
        except FileNotFoundError:
            return None
        return cls(folder, msgspec.json.decode(kept, type=KafkaSettings))

    @property
    def bootstrap(self) -> str:
        """What clients connect to."""
        return f"{HOST}:{self.settings.port}"

    address = bootstrap

    @property
    def pid(self) -> int | None:
        """The broker's pid while it runs, else None."""
        return self._process.pid

    @property
    def log(self) -> Path:
        """What the broker says."""
        return self._process.log

    def client(self, user: str | None = None, password: str | None = None) -> dict[str, str]:
        """The settings of a librdkafka client, as user BROKER if security is on and none is named.

        `password` is by default the user's own.
        """
        plain = {"bootstrap.servers": self.bootstrap}
        if self.settings.security is None:
            return plain
        user = user or BROKER
        known = {**self.settings.security.users, BROKER: self._password()}
        ca = self.certificate.ca
        return plain | security.client(user, known[user] if password is None else password, ca)

    def start(self) -> bool:
        """Start the broker and return once it answers; False if it was up already.

        Raises ConfigError for a taken port, or if the broker of this folder is up (or its records
        were made) with other settings; ServiceError, with the end of the log, if it does not come
        up.
        """
        if self.pid is not None:
            self._want_same()
            return False
        self._want_same_users()
        want_free("kafka", "--kafka-port", self.settings.port)
        want_free("kafka's controller", "--controller-port", self.settings.controller_port)
        classpath = fetch(jars_folder())
        self._write_files()
        if not (self.folder / "records").exists():
            self._format(classpath)
        scratch = self.folder / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        command = java(
            *LEAN,
            f"-Xms{self.settings.heap_mb}m",
            f"-Xmx{self.settings.heap_mb}m",
            "-XX:+UseG1GC",
            "-XX:MaxGCPauseMillis=20",
            f"-XX:ErrorFile={self.folder}/crash.log",
            f"-Djava.io.tmpdir={scratch}",
            f"-Dlog4j2.configurationFile={self.folder}/log4j2.properties",
            "kafka.Kafka",
            self.folder / "server.properties",
            classpath=classpath,
        )
        self._process.start(command, environment())
        self._process.wait_until(self.answers, START_S)
        return True

    def answers(self) -> bool:
        """Whether the broker tells a client that it is there."""
        if not answers(self.settings.port):
            return False
        try:
            from confluent_kafka import KafkaException  # noqa: PLC0415 - an optional extra
            from confluent_kafka.admin import AdminClient  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(
                "Kafka is asked by confluent-kafka, which is not installed: "
                "run `uv sync --inexact --extra stack`"
            ) from error
        quiet = {"log_level": 0, "error_cb": lambda _: None, "reconnect.backoff.max.ms": 100}
        try:
            return bool(AdminClient({**self.client(), **quiet}).list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def stop(self) -> None:
        """Shut the broker down in good order."""
        self._process.stop(STOP_S)

    def kill(self) -> None:
        """End the broker as `kill -9` does."""
        self._process.kill()

    def pause(self) -> None:
        """Let the broker hang, connections open, until `resume`."""
        self._process.pause()

    def resume(self) -> None:
        """Let the broker go on after `pause`."""
        self._process.resume()

    def properties(self) -> dict[str, str]:
        """Kafka's own settings: one small node, tuned for latency and a quick start."""
        settings, listener = self.settings, "SECURE" if self.settings.security else "PLAIN"
        controller = f"{HOST}:{settings.controller_port}"
        shown = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"{listener}://{self.bootstrap},CONTROLLER://{controller}",
            "inter.broker.listener.name": listener,
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,"
            + ("SECURE:SASL_SSL" if settings.security else "PLAIN:PLAINTEXT"),
            "log.dirs": str(self.folder / "records"),
            "auto.create.topics.enable": "false",
            "num.partitions": "1",
            "default.replication.factor": "1",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "1",
            "group.initial.rebalance.delay.ms": "0",
            # A killed broker is let in again when the controller has given its old session up.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "num.network.threads": "2",
            "num.io.threads": "4",
            "log.cleaner.dedupe.buffer.size": str(16 << 20),
        }
        if settings.security:
            shown |= security.properties(self.certificate, self._password())
        return shown

    def _write_files(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.settings.security:
            self.certificate.make()
        lines = "".join(f"{name}={value}\n" for name, value in self.properties().items())
        write_whole(self.folder / "server.properties", [lines.encode()])
        write_whole(self.folder / "log4j2.properties", [LOG4J.encode()])
        write_whole(self._kept, [msgspec.json.encode(self.settings)])

    def _format(self, classpath: list[Path]) -> None:
        """Make the folder of records, under its name only when it is whole."""
        for partial in self.folder.glob("formatting-*"):
            shutil.rmtree(partial)
        partial = self.folder / f"formatting-{secrets.token_hex(4)}"
        partial.mkdir()
        config = partial / "server.properties"
        shown = self.properties() | {"log.dirs": str(partial / "records")}
        config.write_text("".join(f"{name}={value}\n" for name, value in shown.items()), "utf-8")
        users = {**(self.settings.security.users if self.settings.security else {})}
        if self.settings.security:
            users[BROKER] = self._password()
        scram = [
            word
            for name, password in users.items()
            for word in ("--add-scram", f"{MECHANISM}=[name={name},password={password}]")
        ]
        command = java(
            *SHORT_RUN,
            f"-Dlog4j2.configurationFile={self.folder}/log4j2.properties",
            *("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(config), *scram),
            classpath=classpath,
        )
        done = subprocess.run(
            command, env=environment(), capture_output=True, text=True, check=False, timeout=START_S
        )
        if done.returncode:
            said = (done.stdout + done.stderr).strip()
            raise ServiceError(f"kafka: {partial} cannot be formatted: {said}")
        (partial / "records").rename(self.folder / "records")
        shutil.rmtree(partial)

    def _password(self) -> str:
        path = self.folder / "broker.password"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(path, [secrets.token_urlsafe(24).encode()])
        return path.read_text(encoding="ascii")

    def _want_same(self) -> None:
        before = Kafka.at(self.folder)
        if before is not None and before.settings != self.settings:
            raise ConfigError(
                f"kafka in {self.folder} is up on port {before.settings.port} with other settings "
                "than were asked; ask the same, or `headrace down` first"
            )

    def _want_same_users(self) -> None:
        before = Kafka.at(self.folder)
        formatted = (self.folder / "records").exists()
        if before and formatted and before.settings.security != self.settings.security:
            raise ConfigError(
                f"kafka in {self.folder} was made with other users than were asked, and users are "
                "made once; ask the same, or name a new folder"
            )
