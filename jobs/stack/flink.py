"""A Flink 2.3 session cluster from the apache-flink wheel, with ZooKeeper where asked."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import urllib.request
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import msgspec

from jobs.stack.jars import FLINK_CONNECTOR, fetch, jars_folder
from jobs.stack.java import environment, java_home
from jobs.stack.ports import HOST
from jobs.stack.process import Process
from jobs.stack.service import Port, Service
from streams.atomic import write_whole
from streams.errors import ConfigError

JOB_MANAGER, TASK_MANAGER, ZOOKEEPER = "jobmanager", "taskmanager", "zookeeper"
COPIED = ("log4j-console.properties", "log4j-cli.properties")
"""How Flink's processes and its client log, taken from the wheel."""

CLUSTER = {
    "jobmanager.memory.process.size": "1g",
    "taskmanager.memory.process.size": "2g",
    # A killed process is replaced within seconds.
    "heartbeat.interval": "2 s",
    "heartbeat.timeout": "10 s",
}
"""Flink's own settings that are the same for every cluster started here."""


class FlinkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a cluster is started with."""

    port: int = 8081
    """Of the REST interface and the web page."""
    rpc_port: int = 6123
    slots: int = 4
    high_availability: bool = False
    """Keep jobs in ZooKeeper and the folder, so that they survive the JobManager."""
    zookeeper_port: int = 2181


class Flink(Service[FlinkSettings]):
    """A JobManager, a TaskManager, and a ZooKeeper with high availability.

    `client` is the environment in which Flink's own `bin/flink` speaks to it.
    """

    name = "flink"
    kind = FlinkSettings
    start_s = 120.0

    def __init__(self, folder: Path, settings: FlinkSettings | None = None) -> None:
        super().__init__(folder, settings)
        self.conf = self.folder / "conf"
        self.jars = self.folder / "lib"
        self.temporary = self.folder / "tmp"

    @property
    def address(self) -> str:
        """Where the web page and the REST interface are."""
        return f"http://{HOST}:{self.settings.port}"

    @property
    def zookeeper(self) -> str:
        """Where ZooKeeper is."""
        return f"{HOST}:{self.settings.zookeeper_port}"

    def process_names(self) -> list[str]:
        """The TaskManager finds the JobManager, and both find ZooKeeper, in any order."""
        highly = [ZOOKEEPER] if self.settings.high_availability else []
        return [*highly, TASK_MANAGER, JOB_MANAGER]

    def ports(self, process: Process) -> list[Port]:
        settings = self.settings
        ports = {
            ZOOKEEPER: [Port("zookeeper", "--zookeeper-port", settings.zookeeper_port)],
            JOB_MANAGER: [
                Port("flink", "--flink-port", settings.port),
                Port("flink's JobManager", "--flink-rpc-port", settings.rpc_port),
            ],
        }
        return ports.get(process.name, [])

    def want_installed(self) -> None:
        java_home()
        distribution()

    def prepare(self) -> None:
        """Write Flink's configuration and gather its jars; made anew at each start."""
        for each in (self.conf, self.temporary):
            each.mkdir(exist_ok=True)
        self._gather_jars()
        for name in COPIED:
            shutil.copy(distribution() / "conf" / name, self.conf / name)
        config = "".join(f"{key}: {json.dumps(value)}\n" for key, value in self.config().items())
        write_whole(self.conf / "config.yaml", [config.encode()])
        keeper = {
            "tickTime": "2000",
            "dataDir": f"{self.folder}/zookeeper",
            "clientPort": str(self.settings.zookeeper_port),
            "clientPortAddress": HOST,
            "admin.enableServer": "false",
        }
        lines = [f"{key}={value}\n".encode() for key, value in keeper.items()]
        write_whole(self.conf / "zoo.cfg", lines)

    def _gather_jars(self) -> None:
        wanted = class_path()
        self.jars.mkdir(exist_ok=True)
        for link in self.jars.iterdir():
            # One that is in use stays: a part of the cluster may be up.
            if wanted.get(link.name) != link.readlink():
                link.unlink()
            else:
                del wanted[link.name]
        for name, jar in wanted.items():
            (self.jars / name).symlink_to(jar)

    def command(self, process: Process) -> tuple[list[str], dict[str, str]]:
        programs = {
            JOB_MANAGER: ("jobmanager.sh", "start-foreground"),
            TASK_MANAGER: ("taskmanager.sh", "start-foreground"),
            ZOOKEEPER: (
                "flink-console.sh", "zookeeper",
                "--zkConfigFile", str(self.conf / "zoo.cfg"), "--peerId", "1",
            ),
        }  # fmt: skip
        script, *arguments = programs[process.name]
        heap = {"JVM_ARGS": "-Xmx128m"} if process.name == ZOOKEEPER else {}
        return [str(distribution() / "bin" / script), *arguments], {**self.client(), **heap}

    def client(self) -> dict[str, str]:
        """The environment of Flink's scripts: its Java, our configuration, our Python first."""
        if not self.conf.exists():
            # Never started here: a client of a cluster elsewhere wants configuration and jars too.
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.prepare()
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return environment() | {
            "PATH": path,
            "JAVA_HOME": str(java_home()),
            "FLINK_CONF_DIR": str(self.conf),
            # Without a home that is said, Flink's Python takes the wheel's own jars.
            "FLINK_HOME": str(distribution()),
            "FLINK_LIB_DIR": str(self.jars),
            "FLINK_LOG_DIR": str(self.folder / "log"),
            "FLINK_PID_DIR": str(self.folder / "pid"),
            # What operators keep in files stays with the cluster, also when it is killed.
            "TMPDIR": str(self.temporary),
        }

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(  # noqa: S310 - our own loopback address
                f"{self.address}/overview", timeout=2
            ) as answer:
                return bool(json.load(answer)["taskmanagers"])
        except (OSError, ValueError, KeyError):
            return False

    def config(self) -> Mapping[str, str | int]:
        """Flink's own settings: a small cluster that listens on loopback only."""
        settings = self.settings
        shown: dict[str, str | int] = {
            **CLUSTER,
            "env.java.opts.all": java_options(),
            "rest.address": HOST,
            "rest.bind-address": HOST,
            "rest.port": settings.port,
            "jobmanager.rpc.address": HOST,
            "jobmanager.bind-host": HOST,
            "jobmanager.rpc.port": settings.rpc_port,
            "taskmanager.host": HOST,
            "taskmanager.bind-host": HOST,
            "taskmanager.numberOfTaskSlots": settings.slots,
            "io.tmp.dirs": str(self.temporary),
            "execution.checkpointing.dir": f"file://{self.folder}/checkpoints",
            "execution.checkpointing.savepoint-dir": f"file://{self.folder}/savepoints",
            # Flink asks the python it finds for its libraries: it must be this one.
            "python.executable": sys.executable,
            "python.client.executable": sys.executable,
        }
        if settings.high_availability:
            shown |= {
                "high-availability.type": "zookeeper",
                "high-availability.zookeeper.quorum": self.zookeeper,
                "high-availability.jobmanager.port": settings.rpc_port,
                "high-availability.storageDir": f"file://{self.folder}/high-availability",
            }
        return shown


def distribution() -> Path:
    """The folder of Flink's own distribution in the wheel. Raises ConfigError without it."""
    found = find_spec("pyflink")
    if found is None or found.submodule_search_locations is None:
        raise ConfigError(
            "Flink is the apache-flink wheel, which is not installed (350 MB on disk): "
            "run `uv sync --inexact --extra stack --extra flink`"
        )
    return Path(found.submodule_search_locations[0])


def class_path() -> dict[str, Path]:
    """Jars by name: Flink's own, that of its Python, and the Kafka connector, fetched if absent.

    In the cluster's own class path they are loaded once, not once a job: what they load of C can be
    loaded only once in a process.
    """
    fetch([FLINK_CONNECTOR])
    home = distribution()
    found = [*home.glob("lib/*.jar"), *home.glob("opt/flink-python-*.jar")]
    return {jar.name: jar for jar in (*found, jars_folder() / FLINK_CONNECTOR.name)}


def java_options() -> str:
    """What the distribution's own configuration opens of Java to Flink."""
    own = (distribution() / "conf" / "config.yaml").read_text(encoding="utf-8")
    return " ".join(re.findall(r"--add-(?:opens|exports)=\S+", own))
