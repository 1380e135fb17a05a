"""The options that commands share: each is a setting of `jobs.config`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from jobs.config import DOCS, KINDS, Settings
from jobs.given import FILE, flag, variable
from jobs.setting import SWITCH

SHARED = ("brokers", "prefix")
Command = Callable[..., Any]


def configured(*names: str) -> Callable[[Command], Command]:
    """Give a command `--config`, `--brokers`, `--prefix` and the flags of these settings.

    The command gets them as one argument, `settings`, together with what the file and the
    environment say.
    """
    taken = (*SHARED, *names)

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def configure(*arguments: Any, config: Path | None, **options: Any) -> Any:
            flags = {name: options.pop(name) for name in taken}
            return command(*arguments, settings=Settings.load(config, flags), **options)

        decorated: Command = configure
        for name in reversed(taken):
            decorated = _option(name)(decorated)
        return click.option(
            "--config",
            type=click.Path(path_type=Path),
            help=f"A TOML file of settings. By default {FILE}, if it is here.",
        )(decorated)

    return decorate


def _option(name: str) -> Callable[[Command], Command]:
    default = getattr(Settings, name)
    said = f"  [{variable(name)}{f'; {default}' if default else ''}]"
    if KINDS[name] is SWITCH:
        spelled = f"{flag(name)}/--no-{flag(name)[2:]}"
        return click.option(spelled, name, default=None, help=DOCS[name] + said, callback=_word)
    return click.option(flag(name), name, metavar=_metavar(name), help=DOCS[name] + said)


def _word(_context: click.Context, _parameter: click.Parameter, value: bool | None) -> str | None:
    return None if value is None else str(value).lower()


def _metavar(name: str) -> str:
    """What the option takes, in a word.

    >>> _metavar("commit_ms"), _metavar("order")
    ('MS', 'arrival|strict')
    """
    words = KINDS[name].wanted.replace(" or ", "|")
    return words if "|" in words and " " not in words else name.rpartition("_")[2].upper()
