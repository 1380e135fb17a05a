"""docs/clients.md: what it says is run by a test is run here, as it is written.

Only addresses differ: of the broker, of the environment's programs, of the jars.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.clients.topics import create_topics
from jobs.stack.jars import jars_folder
from jobs.stack.kafka import Kafka
from tests.deployment import Job, until
from tests.kafka_server import new_kafka

PAGE = (Path(__file__).parents[1] / "docs" / "clients.md").read_text(encoding="utf-8")
NAMED = re.compile(r"^```(?:python|sh)\n# (\S+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS: dict[str, str] = dict(NAMED.findall(PAGE))
PATIENCE_S = 120


class Site:
    """A broker with the topics under their plain names, the jobs, and the page's files."""

    def __init__(self, kafka: Kafka, folder: Path) -> None:
        self.folder, self.kafka = folder, kafka
        for name in BLOCKS:
            if name.endswith(".py"):
                (folder / name).write_text(self.text(name), encoding="utf-8")

    def text(self, name: str) -> str:
        text = BLOCKS[name].replace("127.0.0.1:9092", self.kafka.bootstrap)
        text = text.replace("uv run ", f"{Path(sys.executable).parent}/")
        return text.replace("$HOME/.cache/headrace/jars", str(jars_folder()))

    def python(self, name: str, *arguments: str) -> None:
        command = [sys.executable, name, *arguments]
        subprocess.run(command, cwd=self.folder, check=True, timeout=PATIENCE_S)

    def shell(self, name: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.text(name)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def hears(self, name: str, id_: str) -> list[str]:
        """The words of a subscriber's line about this id."""
        log = self.folder / f"{name}.log"
        with log.open("w") as out:
            process = subprocess.Popen([sys.executable, name], cwd=self.folder, stdout=out)
        try:
            until(lambda: f"{id_} " in log.read_text(), f"{id_} from {name}", log.read_text)
        finally:
            process.kill()
            process.wait()
        return next(line.split() for line in log.read_text().splitlines() if id_ in line)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    kafka = new_kafka(folder / "kafka")
    try:
        kafka.start()
        create_topics(kafka.bootstrap)
        settings = {"BROKERS": kafka.bootstrap, "PREFIX": "", "STATE": str(folder / "state")}
        environment = os.environ | {f"HEADRACE_{key}": value for key, value in settings.items()}
        job = Job(("run", "--learn"), environment, folder / "run.log")
        try:
            until(lambda: job.process.poll() is not None or "order" in job.log(), "it", job.log)
            yield Site(kafka, folder)
        finally:
            job.kill()
    finally:
        kafka.kill()


def test_every_block_that_is_named_is_run_here() -> None:
    assert sorted(BLOCKS) == [
        "confluent_publish.py",
        "confluent_subscribe.py",
        "headrace",
        "kafka",
        "label.py",
        "publish.py",
        "subscribe.py",
    ]


def test_kafka_python_publishes_labels_and_subscribes(site: Site) -> None:
    site.python("publish.py", "p1")
    site.python("label.py", "p1")
    assert site.hears("subscribe.py", "p1") == ["p1", "0.010000000000000002", "approve", "0"]


def test_confluent_kafka_publishes_and_subscribes(site: Site) -> None:
    site.python("confluent_publish.py", "p2")
    assert site.hears("confluent_subscribe.py", "p2")[2] == "approve"


def test_our_commands_publish_and_subscribe(site: Site) -> None:
    said = site.shell("headrace").splitlines()
    assert said[0].startswith("sent 1 events and 0 labels")
    assert said[1].startswith('{"id":"s1",')


def test_kafkas_console_tools_publish_and_subscribe(site: Site) -> None:
    assert '"model_version":' in site.shell("kafka")
    assert site.hears("subscribe.py", "s2")[0] == "s2"
