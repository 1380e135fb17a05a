"""deploy/kubernetes says what the code says. There is no Kubernetes here: it is only read.

What Flink makes of it, pods and memory, Flink is asked.
"""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from jobs.config import Settings
from jobs.flink_host.order import FlinkOrder
from jobs.stack.flink import FlinkSettings, distribution, java_options
from jobs.stack.java import java_home

ROOT = Path(__file__).parents[1]
IMAGE = (ROOT / "Dockerfile").read_text("utf-8")
(HOME,) = re.findall(r"headrace flink package (\S+)$", IMAGE, re.MULTILINE)
CLAIM, DEPLOYMENT = yaml.safe_load_all((ROOT / "deploy/kubernetes/flink.yaml").read_text("utf-8"))
SPEC: dict[str, Any] = DEPLOYMENT["spec"]
CONFIG: dict[str, str] = SPEC["flinkConfiguration"]
POD = SPEC["podTemplate"]["spec"]
(CONTAINER,) = POD["containers"]
ENVIRONMENT = {each["name"]: each["value"] for each in CONTAINER["env"]}
wants_flink = pytest.mark.skipif(find_spec("pyflink") is None, reason="wants the extra flink")

ASKED = """
import json, sys
from pyflink.java_gateway import get_gateway

asked, jvm = json.load(sys.stdin), get_gateway().jvm
flink = jvm.org.apache.flink
config = flink.configuration.Configuration()
for name, value in asked.items():
    config.setString(name, value)
flink.runtime.clusterframework.TaskExecutorProcessUtils.processSpecFromConfig(config)
flink.runtime.jobmanager.JobManagerProcessUtils.processSpecFromConfig(config)
cluster = flink.client.deployment.ClusterSpecification.ClusterSpecificationBuilder()
kubernetes = flink.kubernetes.kubeclient
parameters = kubernetes.parameters.KubernetesJobManagerParameters(
    config, cluster.createClusterSpecification()
)
made = kubernetes.factory.KubernetesJobManagerFactory.buildKubernetesJobManagerSpecification(
    kubernetes.FlinkPod.Builder().build(), parameters
)
(container,) = made.getDeployment().getSpec().getTemplate().getSpec().getContainers()
print(json.dumps({
    "name": container.getName(),
    "command": [*container.getCommand(), *container.getArgs()],
    "mounts": [each.getMountPath() for each in container.getVolumeMounts()],
    "ports": [each.getContainerPort() for each in container.getPorts()],
}))
"""


def variable(name: str) -> str:
    """What the image sets an environment variable to."""
    found = re.search(rf"\b{name}=(\S+)", IMAGE[IMAGE.index(" AS flink\n") :])
    assert found, name
    return found[1]


def test_it_is_the_version_of_flink_that_is_installed() -> None:
    assert (DEPLOYMENT["apiVersion"], DEPLOYMENT["kind"]) == (
        "flink.apache.org/v1beta1", "FlinkDeployment",
    )  # fmt: skip
    if find_spec("pyflink"):
        major, minor, _ = version("apache-flink").split(".")
        assert SPEC["flinkVersion"] == f"v{major}_{minor}"


def test_the_settings_of_the_pods_are_settings_that_are_read() -> None:
    order = msgspec.json.decode(ENVIRONMENT["HEADRACE_FLINK"], type=FlinkOrder)
    assert set(json.loads(ENVIRONMENT["HEADRACE_FLINK"])) <= set(FlinkOrder.__struct_fields__)
    settings = Settings.load(environ=ENVIRONMENT)
    assert (settings.brokers, settings.group) == ("kafka:9092", Settings().group)
    assert order.name == DEPLOYMENT["metadata"]["name"]
    assert order.parallelism == SPEC["job"]["parallelism"] <= order.lanes
    assert order.parallelism <= int(CONFIG["taskmanager.numberOfTaskSlots"])


def test_flink_is_set_as_the_job_sets_it() -> None:
    order = msgspec.json.decode(ENVIRONMENT["HEADRACE_FLINK"], type=FlinkOrder)
    wanted = order.configuration()
    for name in ("python.executable", "python.client.executable"):
        assert wanted.pop(name) == sys.executable and name not in CONFIG
    assert {name: CONFIG[name] for name in wanted} == wanted
    assert CONFIG["rest.port"] == str(FlinkSettings().port)
    if find_spec("pyflink"):
        assert CONFIG["env.java.opts.all"] == java_options()


def test_paths_are_those_of_the_image() -> None:
    assert f'ENTRYPOINT ["{CONFIG["kubernetes.entry.path"]}"]' in IMAGE
    assert CONFIG["kubernetes.entry.path"] == f"{HOME}/bin/run"
    assert CONFIG["kubernetes.flink.conf.dir"] == variable("FLINK_CONF_DIR")
    arguments = dict(zip(SPEC["job"]["args"][::2], SPEC["job"]["args"][1::2], strict=True))
    assert arguments["-pyclientexec"] == f"{HOME}/python/bin/python"
    assert find_spec(arguments["-pym"])
    assert CONFIG["io.tmp.dirs"] in IMAGE
    (owner,) = set(re.findall(r"useradd --uid (\d+)", IMAGE))
    assert POD["securityContext"]["fsGroup"] == int(owner)


def test_what_is_kept_is_on_the_volume_that_both_kinds_of_pod_mount() -> None:
    (volume,), (mount,) = POD["volumes"], CONTAINER["volumeMounts"]
    assert mount["name"] == volume["name"]
    assert volume["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
    assert CLAIM["spec"]["accessModes"] == ["ReadWriteMany"]
    kept = {name: value for name, value in CONFIG.items() if value.startswith("file://")}
    assert set(kept) == {
        "high-availability.storageDir",
        "execution.checkpointing.dir",
        "execution.checkpointing.savepoint-dir",
    }
    assert all(value.startswith(f"file://{mount['mountPath']}/") for value in kept.values())
    assert mount["mountPath"] in IMAGE


@wants_flink
def test_flink_makes_pods_of_it_that_the_image_can_start() -> None:
    config = {
        **CONFIG,
        "execution.target": "kubernetes-application",
        "kubernetes.cluster-id": DEPLOYMENT["metadata"]["name"],
        "kubernetes.container.image.ref": SPEC["image"],
        "kubernetes.internal.jobmanager.entrypoint.class": "any",
        "blob.server.port": "6124",
        "jobmanager.memory.process.size": SPEC["jobManager"]["resource"]["memory"],
        "taskmanager.memory.process.size": SPEC["taskManager"]["resource"]["memory"],
    }
    done = subprocess.run(
        [sys.executable, "-c", ASKED],
        input=json.dumps(config), capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | {"JAVA_HOME": str(java_home()), "FLINK_HOME": str(distribution())},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pod = json.loads(done.stdout.splitlines()[-1])
    entry, *command = pod["command"]
    assert entry == CONFIG["kubernetes.entry.path"]
    assert command[:2] == ["bash", "-c"]
    assert (distribution() / "bin" / command[2].split()[0]).exists()
    assert pod["name"] == CONTAINER["name"]
    assert CONFIG["kubernetes.flink.conf.dir"] in pod["mounts"]
    assert int(CONFIG["rest.port"]) in pod["ports"]
