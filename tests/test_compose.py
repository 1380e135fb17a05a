"""docker-compose.yml says what the local stack says. There is no Docker here: it is only read."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml

from jobs.commands import headrace
from jobs.config import Settings
from jobs.stack import flink, kafka
from jobs.stack.flink import FlinkSettings
from jobs.stack.jars import KAFKA_VERSION
from jobs.stack.kafka import KafkaSettings
from jobs.stack.redis import RedisSettings

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
JOBS = ("topics", "score", "learn")
PORT = 9464
"""Where docs/monitoring.md has a job answer."""


def published(service: str) -> dict[int, int]:
    """Return the port of this machine by the port of the container."""
    places = [place.split(":") for place in SERVICES[service].get("ports", [])]
    assert all(host == "127.0.0.1" for host, _, _ in places), service
    return {int(inside): int(outside) for _, outside, inside in places}


def own(folder: str) -> Iterator[Path]:
    """Return the files of ours that the services mount."""
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            if volume.startswith(f"./{folder}"):
                yield ROOT / volume.split(":")[0]


def test_it_has_what_the_local_stack_has_and_the_jobs_and_what_watches_them() -> None:
    assert set(SERVICES) == {
        *("kafka", "redis", "jobmanager", "taskmanager"),
        *JOBS,
        *("prometheus", "grafana"),
    }


def test_all_is_published_on_loopback_at_the_ports_of_the_local_stack() -> None:
    assert set(published("kafka").values()) == {KafkaSettings().port}
    assert set(published("redis").values()) == {RedisSettings().port}
    assert set(published("jobmanager").values()) == {FlinkSettings().port}
    assert published("score") == {PORT: PORT}
    assert published("learn") == {PORT: PORT + 1}
    outside = [port for service in SERVICES for port in published(service).values()]
    assert len(outside) == len(set(outside))


def test_the_broker_is_the_version_of_the_jars_with_the_settings_of_the_local_one() -> None:
    broker = SERVICES["kafka"]
    assert broker["image"] == f"apache/kafka:{KAFKA_VERSION}"
    env = broker["environment"]
    for name, value in kafka.NODE.items():
        assert env[f"KAFKA_{name.upper().replace('.', '_')}"] == value
    assert env["CLUSTER_ID"] == kafka.CLUSTER
    assert env["KAFKA_HEAP_OPTS"] == "-Xms{0}m -Xmx{0}m".format(KafkaSettings().heap_mb)


def test_clients_inside_and_outside_are_each_told_an_address_that_they_can_reach() -> None:
    env = SERVICES["kafka"]["environment"]
    listeners = dict(place.split("://") for place in env["KAFKA_LISTENERS"].split(","))
    told = dict(place.split("://") for place in env["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert told == {"PLAIN": "kafka" + listeners["PLAIN"], "HOST": Settings().brokers}
    assert published("kafka") == {int(listeners["HOST"][1:]): KafkaSettings().port}
    assert env["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"1@kafka{listeners['CONTROLLER']}"


@pytest.mark.parametrize("name", JOBS)
def test_the_jobs_are_commands_of_ours_with_settings_that_are_read(name: str) -> None:
    job = SERVICES[name]
    assert job["command"][0] in headrace.commands
    settings = Settings.load(environ=job["environment"])
    assert settings.brokers == "kafka:9092"
    assert (settings.metrics_host, settings.metrics_port) == ("0.0.0.0", PORT)
    assert settings.online in {"", f"redis://redis:{RedisSettings().port}"}


def test_topics_are_made_by_our_own_command_before_a_job_starts() -> None:
    assert SERVICES["topics"]["command"] == ["topics", "create"]
    for name in ("score", "learn"):
        awaited = SERVICES[name]["depends_on"]["topics"]
        assert awaited == {"condition": "service_completed_successfully"}


def test_whatever_is_named_is_there() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", [])) <= set(SERVICES)
        mounted = {volume.split(":")[0] for volume in service.get("volumes", [])}
        assert {name for name in mounted if not name.startswith(".")} <= set(COMPOSE["volumes"])
    for path in own("deploy"):
        assert path.exists(), path


def test_flink_has_the_settings_of_the_local_cluster() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "flink" / "config.yaml").read_text("utf-8"))
    assert {name: config[name] for name in flink.CLUSTER} == flink.CLUSTER
    assert config["taskmanager.numberOfTaskSlots"] == FlinkSettings().slots
    assert config["rest.port"] == FlinkSettings().port
    assert config["jobmanager.rpc.port"] == FlinkSettings().rpc_port
    assert config["jobmanager.rpc.address"] == SERVICES["jobmanager"]["hostname"]
    assert config["env.java.opts.all"] == flink.java_options()


@pytest.mark.skipif(find_spec("pyflink") is None, reason="wants the extra flink")
def test_flink_is_started_by_its_own_programs_from_the_package_in_the_image() -> None:
    image = (ROOT / "Dockerfile").read_text("utf-8")
    (home,) = re.findall(r"headrace flink package (\S+)$", image, re.MULTILINE)
    assert f'ENTRYPOINT ["{home}/bin/run"]' in image
    config = yaml.safe_load((ROOT / "deploy" / "flink" / "config.yaml").read_text("utf-8"))
    assert config["python.executable"] == f"{home}/python/bin/python"
    programs = flink.distribution() / "bin"
    for name in ("jobmanager", "taskmanager"):
        script, *arguments = SERVICES[name]["command"]
        assert (programs / script).exists() and arguments == ["start-foreground"]
    asked = SERVICES["jobmanager"]["environment"]
    address, port = SERVICES["jobmanager"]["hostname"], config["rest.port"]
    assert asked["HEADRACE_FLINK_URL"] == f"http://{address}:{port}"
    assert Settings.load(environ=asked).brokers == "kafka:9092"


def test_prometheus_asks_both_jobs_where_they_answer() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text("utf-8"))
    ours, of_flink = config["scrape_configs"]
    assert ours["static_configs"] == [{"targets": [f"score:{PORT}", f"learn:{PORT}"]}]
    asked = of_flink["dns_sd_configs"][0]
    settings = yaml.safe_load((ROOT / "deploy" / "flink" / "config.yaml").read_text("utf-8"))
    assert set(asked["names"]) <= set(SERVICES)
    assert asked["port"] == settings["metrics.reporter.prom.port"]


@pytest.mark.skipif(find_spec("pyflink") is None, reason="wants the extra flink")
def test_flinks_reporter_for_prometheus_is_in_its_distribution() -> None:
    settings = yaml.safe_load((ROOT / "deploy" / "flink" / "config.yaml").read_text("utf-8"))
    name = settings["metrics.reporter.prom.factory.class"].replace(".", "/") + ".class"
    (jar,) = (flink.distribution() / "plugins" / "metrics-prometheus").glob("*.jar")
    assert name in ZipFile(jar).namelist()


def test_the_image_is_made_of_what_is_here() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    lets = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists() and f"!{name}" in lets, name
    version = (ROOT / ".python-version").read_text("utf-8").strip()
    assert f"FROM python:{version}-slim AS base" in text
    targets = set(re.findall(r"^FROM \S+ AS (\w+)$", text, re.MULTILINE))
    assert {
        service["build"]["target"] for service in SERVICES.values() if "build" in service
    } < targets
