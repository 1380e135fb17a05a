"""Optional packages, imported where they are used, with what to do where one is absent."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from streams.errors import ConfigError


def optional(module: str, extra: str = "stack") -> Any:
    """Import a module of an extra. Raises ConfigError naming the command that installs it.

    >>> optional("json").dumps([1])
    '[1]'
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{module.split('.', maxsplit=1)[0]} is wanted and not installed: "
            f"run `uv sync --inexact --extra {extra}`"
        ) from error
