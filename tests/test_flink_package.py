"""A package runs elsewhere, without the clone and without a network.

Its processes are started as Kubernetes starts them, with the settings of deploy/kubernetes, but for
what only Kubernetes has. HEADRACE_PACKAGE=50 has it tried with so many transactions; it takes two
minutes and 2.4 GB. The path of a package has that one tried.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.flink_host.cluster import FlinkCluster
from jobs.release import RELEASE
from jobs.stack.flink import CLUSTER
from jobs.stack.kafka import Kafka
from jobs.stack.ports import free_port
from streams.errors import ServiceError
from tests.deployment import Deployment, until

pytestmark = pytest.mark.skipif(
    not os.environ.get("HEADRACE_PACKAGE"), reason="wants HEADRACE_PACKAGE=50"
)

ROOT = Path(__file__).parents[1]
_, DEPLOYMENT = yaml.safe_load_all((ROOT / "deploy/kubernetes/flink.yaml").read_text("utf-8"))
SPEC: dict[str, Any] = DEPLOYMENT["spec"]
IMAGE, KEPT = "/opt/headrace", "/flink/kept"
"""Where the image holds the package, and the pods what is kept."""
ONLY_THERE = ("kubernetes.", "high-availability.", "io.tmp.dirs")
GIVEN = os.environ.get("HEADRACE_PACKAGE", "")
COUNT = int(GIVEN) if GIVEN.isdecimal() else 50


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A package as an archive has it, unpacked elsewhere."""
    if not GIVEN.isdecimal():
        yield Path(GIVEN).resolve()
        return
    folder = tmp_path_factory.mktemp("package")
    archive, elsewhere = folder / "headrace.tar", folder / "elsewhere"
    elsewhere.mkdir()
    try:
        command = [sys.executable, "-m", "jobs.cli", "flink", "package", str(archive)]
        subprocess.run(command, cwd=ROOT, check=True)
        subprocess.run(["tar", "-xf", str(archive), "-C", str(elsewhere)], check=True)
        archive.unlink()
        yield elsewhere / "headrace"
    finally:
        shutil.rmtree(folder)


class Machine:
    """Where nothing is but a package: it starts programs of it, and knows what they have open."""

    def __init__(self, package: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self.package, self.folder = package, folder
        self._environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), **environment}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @contextmanager
    def running(self, name: str, *command: str) -> Iterator[None]:
        with (self.folder / f"{name}.log").open("wb") as out:
            self.processes[name] = process = subprocess.Popen(
                [self.package / "bin" / "run", *command],
                env=self._environment, cwd=self.folder, stdout=out, stderr=out,
            )  # fmt: skip
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def headrace(self, *command: str) -> str:
        done = subprocess.run(
            [self.package / "bin" / "headrace", *command],
            env=self._environment, cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def until_predicted(self, there: Deployment) -> None:
        """Publish a few transactions, and return when all are predicted."""
        there.pay(0, COUNT)

        def predicted() -> bool:
            assert all(each.poll() is None for each in self.processes.values()), self.log()
            return len(there.predicted()) >= COUNT

        until(predicted, f"{COUNT} predictions", self.log)
        assert sorted(there.predicted()) == sorted(f"t{n}" for n in range(COUNT))

    def log(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in self.folder.glob("*.log"))

    def mapped(self) -> set[str]:
        """The files that the processes have mapped into memory."""
        maps = "".join(
            Path(f"/proc/{process.pid}/maps").read_text() for process in self.processes.values()
        )
        return {line.split(maxsplit=5)[5] for line in maps.splitlines() if " /" in line}


def configured(folder: Path, package: Path, port: int) -> dict[str, object]:
    """The settings of the deployment, on this machine."""
    config = {
        name: value.replace(KEPT, str(folder)).replace(IMAGE, str(package))
        for name, value in SPEC["flinkConfiguration"].items()
        if not name.startswith(ONLY_THERE) and "memory" not in name
    }
    local = {"rest.address": "127.0.0.1", "rest.port": port, "io.tmp.dirs": folder}
    local |= {"jobmanager.rpc.address": "127.0.0.1", "jobmanager.rpc.port": free_port()}
    local |= {f"{each}.bind-host": "127.0.0.1" for each in ("jobmanager", "taskmanager")}
    local |= {"taskmanager.host": "127.0.0.1", "rest.bind-address": "127.0.0.1", **CLUSTER}
    return {**config, **local}


def test_it_is_whole_and_says_what_it_is(package: Path) -> None:
    subprocess.run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=package, check=True)
    assert json.loads((package / "manifest.json").read_text())["release"] == RELEASE


def test_the_kubernetes_deployment_runs_from_it_alone(
    package: Path, kafka_broker: Kafka, tmp_path: Path
) -> None:
    there = Deployment(kafka_broker, tmp_path)
    (container,) = SPEC["podTemplate"]["spec"]["containers"]
    given = {each["name"]: each["value"] for each in container["env"]}
    ours = {name: there.environment[name] for name in ("HEADRACE_BROKERS", "HEADRACE_PREFIX")}
    machine = Machine(package, tmp_path, given | ours)
    settings, job = configured(tmp_path, package, free_port()), SPEC["job"]
    config = [f"-D{name}={value}" for name, value in settings.items()]
    compiled = set((package / "cache" / "kernels").rglob("*"))
    begun = [
        *("standalone-job.sh", "start-foreground", *config),
        f"-Dparallelism.default={job['parallelism']}",
        *("--job-classname", job["entryClass"]),
        *(each.replace(IMAGE, str(package)) for each in job["args"]),
    ]
    with (
        machine.running("jobmanager", *begun),
        machine.running("taskmanager", "taskmanager.sh", "start-foreground", *config),
    ):
        machine.until_predicted(there)
        mapped = machine.mapped()
    assert any(path.startswith(f"{package}/python/lib/libpython") for path in mapped)
    assert not [path for path in mapped if path.startswith((str(ROOT), f"{sys.base_prefix}/"))]
    assert set((package / "cache" / "kernels").rglob("*")) == compiled


def test_its_own_command_submits_to_a_session_cluster_of_it(
    package: Path, kafka_broker: Kafka, tmp_path: Path
) -> None:
    there = Deployment(kafka_broker, tmp_path)
    ours = {name: there.environment[name] for name in ("HEADRACE_BROKERS", "HEADRACE_PREFIX")}
    port, conf = free_port(), tmp_path / "conf"
    shutil.copytree(package / "conf", conf)
    config = yaml.safe_load((conf / "config.yaml").read_text("utf-8"))
    completed = {name: str(value) for name, value in configured(tmp_path, package, port).items()}
    (conf / "config.yaml").write_text(yaml.safe_dump(config | completed), "utf-8")
    machine = Machine(package, tmp_path, ours | {"FLINK_CONF_DIR": str(conf)})
    with (
        machine.running("jobmanager", "jobmanager.sh", "start-foreground"),
        machine.running("taskmanager", "taskmanager.sh", "start-foreground"),
    ):
        cluster = FlinkCluster(f"http://127.0.0.1:{port}")
        until(lambda: answers(cluster), "a TaskManager", machine.log)
        said = machine.headrace("flink", "submit", "--flink", cluster.address)
        assert "RUNNING" in said
        machine.until_predicted(there)


def answers(cluster: FlinkCluster) -> bool:
    """Whether a cluster is up."""
    try:
        return bool(cluster.ask("/overview")["taskmanagers"])
    except ServiceError:
        return False
