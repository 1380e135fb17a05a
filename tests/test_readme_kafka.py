"""The README's lines about Kafka, run as they stand there.

The stack's folder, its ports and the jobs' state are the test's own, by the environment. The speed
is higher than the README's, so that a week passes within seconds; HEADRACE_README_SPEED=10000x is
the README's.
"""

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.terminal import PATIENCE_S, ROOT, Terminal, predictions

SECTION = re.search(
    r"^## On Kafka\n(.*?)^## ",
    (ROOT / "README.md").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)
assert SECTION
SHOWN, OWN = re.findall(r"^```sh\n(.*?)^```", SECTION[1], re.DOTALL | re.MULTILINE)
(PROGRAM,) = re.findall(r"^```python\n(.*?)^```", SECTION[1], re.DOTALL | re.MULTILINE)
ADDRESS, SPEED = "127.0.0.1:9092", "10000x"
TRIED = os.environ.get("HEADRACE_README_SPEED", "60000x")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal whose stack has been up before, on ports of its own; they are kept."""
    terminal = Terminal(tmp_path, "--kafka-port", "--controller-port", "--redis-port")
    terminal.call("uv run headrace up kafka redis", *terminal.ports)
    terminal.call("uv run headrace down")
    try:
        yield terminal
    finally:
        terminal.call("uv run headrace down --wipe")


def learns(found: list[dict[str, Any]]) -> bool:
    """Whether scores differ, and the version rises."""
    learnt = [each for each in found if each["model_version"] > 0]
    versions = {each["model_version"] for each in learnt}
    return len(versions) >= 3 and len({each["score"] for each in learnt}) >= 100


def test_the_readme_shows_a_model_that_learns(terminal: Terminal) -> None:
    up, run, publish, subscribe = SHOWN.splitlines()
    assert "up in" in terminal.call(up)
    with (
        terminal.running(terminal.command(run)) as jobs,
        terminal.running(terminal.command(publish.replace(SPEED, TRIED))) as sent,
        terminal.running(terminal.command(subscribe)) as seen,
    ):
        began = time.monotonic()
        while not learns(predictions(seen)):
            said = [log.read_text()[-2000:] for log in (jobs, sent)]
            assert time.monotonic() - began < PATIENCE_S, said
            time.sleep(0.2)
    found = predictions(seen)
    versions = [each["model_version"] for each in found]
    assert versions == sorted(versions) and len({each["score"] for each in found}) > 100


def test_the_readme_needs_only_kafka_python_of_a_user(terminal: Terminal) -> None:
    terminal.call("uv run headrace up kafka redis")
    export, create, run = OWN.splitlines()
    assert export.startswith("export ")
    terminal.environment |= dict(word.split("=") for word in export.split()[1:])
    assert "made mine.transactions" in terminal.call(create)
    program = terminal.folder / "example.py"
    program.write_text(PROGRAM.replace(ADDRESS, terminal.address), encoding="utf-8")
    with (
        terminal.running(terminal.command(run)) as jobs,
        terminal.running([sys.executable, "-u", str(program)]) as seen,
    ):
        began = time.monotonic()
        while "'decision': 'approve'" not in seen.read_text():
            said = [log.read_text()[-2000:] for log in (jobs, seen)]
            assert time.monotonic() - began < PATIENCE_S, said
            time.sleep(0.1)
    assert "{'id': '1'," in seen.read_text()
