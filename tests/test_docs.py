"""The pages under docs/ list everything there is."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from jobs.commands import headrace
from jobs.config import KINDS

DOCS = Path(__file__).parents[1] / "docs"


def documented(name: str) -> str:
    """What the page of the commands says of one, and the pages that it sends the reader to."""
    page = (DOCS / "commands.md").read_text()
    sections = re.split(r"^## (.+)$", page, flags=re.MULTILINE)[1:]
    for heading, section in zip(sections[::2], sections[1::2], strict=True):
        if name in heading.split(", "):
            linked = re.findall(r"\(([a-z]+\.md)[)#]", section)
            return "\n".join([section, *((DOCS / each).read_text() for each in linked)])
    raise AssertionError(f"no section of docs/commands.md is about {name}")


def options(command: click.Command) -> Iterator[click.Parameter]:
    """The options of a command and of those below it, but for settings, which have a page."""
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        yield from options(below)
    for each in command.params:
        if isinstance(each, click.Option) and each.name not in KINDS and not each.hidden:
            yield each


@pytest.mark.parametrize("name", headrace.commands)
def test_every_command_and_option_is_documented(name: str) -> None:
    said = documented(name)
    missing = {each.opts[0] for each in options(headrace.commands[name])} - {"--config"}
    assert {each for each in missing if each not in said} == set()


def test_every_decision_is_listed() -> None:
    pages = sorted(path.name for path in (DOCS / "decisions").glob("0*.md"))
    listed = re.findall(r"\]\((0.+?\.md)\)", (DOCS / "decisions" / "README.md").read_text())
    assert listed == pages
