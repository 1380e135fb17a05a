"""The README's lines about Flink, run as they stand there, on ports of the test's own."""

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.deployment import until
from tests.terminal import ROOT, Terminal, predictions

pytestmark = pytest.mark.skipif(find_spec("pyflink") is None, reason="wants the extra flink")

README = (ROOT / "README.md").read_text("utf-8")
SECTION = re.search(r"^## On Flink\n.*?^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
assert SECTION
SYNC, UP, SUBMIT, LEARN = SECTION[1].splitlines()
PORTS = ("--kafka-port", "--controller-port", "--flink-port", "--flink-rpc-port")
COUNT = 100


def test_the_first_screen_shows_flink_by_the_same_commands() -> None:
    first = README[: README.index("## ")]
    for line in (UP, SUBMIT):
        command = line.removeprefix("uv run ").partition(" --")[0]
        assert re.search(rf"^{command}\b", first, re.MULTILINE), command


def test_what_is_to_be_installed_are_extras_of_the_project() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    assert set(re.findall(r"--extra (\w+)", SYNC)) == {"stack", "flink"} <= set(extras)


def test_the_readme_scores_on_flink(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, *PORTS)
    publish = "uv run headrace publish --simulate --with-labels --speed 10000x"
    try:
        up = terminal.call(UP, *terminal.ports)
        assert "flink  up in" in up and "topics made" in up
        score, learn = (terminal.call(line).split() for line in (SUBMIT, LEARN))
        assert score[2] == learn[2] == "RUNNING,"
        with (
            terminal.running(terminal.command(publish)) as sent,
            terminal.running(terminal.command("uv run headrace subscribe predictions")) as seen,
        ):
            until(lambda: len(predictions(seen)) >= COUNT, "predictions", sent.read_text)
        listed = terminal.call("uv run headrace flink list")
        assert score[1] in listed
        assert learn[1] in listed
    finally:
        terminal.call("uv run headrace down --wipe")
