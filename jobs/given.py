"""Settings as they were given: by a TOML file, by variables of the environment, by flags."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from jobs.setting import SECRET, Kind, Secret
from streams.errors import ConfigError

FILE = "headrace.toml"
PAGE = "docs/configuration.md"
_PREFIX = "HEADRACE_"
_NAMED = f"{_PREFIX}CONFIG"
_ALIKE = 0.8


class Given(NamedTuple):
    """A value as it came."""

    where: str
    """As errors say it: `headrace.toml: commit_ms`, `HEADRACE_COMMIT_MS` or `--commit-ms`."""
    key: str
    raw: object
    text: bool
    folder: Path
    """What a relative path is relative to: the file's folder, or the one worked in."""


def variable(key: str) -> str:
    """The environment variable of a setting.

    >>> variable("commit_ms")
    'HEADRACE_COMMIT_MS'
    """
    return _PREFIX + key.upper()


def flag(key: str) -> str:
    """The flag of a setting.

    >>> flag("commit_ms")
    '--commit-ms'
    """
    return "--" + key.replace("_", "-")


def in_file(
    config: Path | None, environ: Mapping[str, str], kinds: Mapping[str, Kind]
) -> Iterator[Given]:
    """What the file says: `config`, else the one HEADRACE_CONFIG names, else FILE if it is here."""
    named = config or (Path(environ[_NAMED]) if environ.get(_NAMED) else None)
    path = named or Path(FILE)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named is None:
            return
        raise ConfigError(f"{path}: wanted a file of settings, got none there") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        came = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: wanted a TOML file of settings, got: {came}") from None
    for key, raw in content.items():
        where = f"{path}: {key}"
        if key not in kinds:
            raise ConfigError(f"{where}: no such setting{_meant(key, kinds)}; {PAGE} lists them")
        if kinds[key] is SECRET:
            raise ConfigError(
                f"{where}: wanted secrets outside of this file, got one; put it into a file of its "
                f"own that {key}_file names, or into {variable(key)}"
            )
        yield Given(where, key, raw, text=False, folder=path.parent)


def in_environment(environ: Mapping[str, str], kinds: Mapping[str, Kind]) -> Iterator[Given]:
    """What the variables say. Of the unknown, only those that look mistyped are refused."""
    known = {variable(key): key for key in kinds}
    for name in sorted(environ):
        if name in known:
            yield Given(name, known[name], environ[name], text=True, folder=Path())
        elif name.startswith(_PREFIX) and name != _NAMED:
            meant = _meant(name.removeprefix(_PREFIX).lower(), kinds, variable)
            if meant:
                raise ConfigError(f"{name}: no such setting{meant}; {PAGE} lists them")


def in_flags(flags: Mapping[str, str | None]) -> Iterator[Given]:
    """What the flags say, by the setting's name; None where one was not given."""
    for key, raw in flags.items():
        if raw is not None:
            yield Given(flag(key), key, raw, text=True, folder=Path())


def taken(given: Given, kind: Kind) -> Any:
    """The value, as its kind takes it; ConfigError says where, what was wanted, what came."""
    try:
        return kind.take(given.raw, given.folder, text=given.text)
    except ValueError:
        came = "got nothing" if given.raw == "" else f"got {given.raw!r}"
        raise ConfigError(f"{given.where}: wanted {kind.wanted}, {came}") from None


def secret_in(path: Path, key: str) -> Secret:
    """The secret that a file holds, without its line end."""
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        came = getattr(error, "strerror", None) or "no text"
        raise ConfigError(f"{key}: wanted a file that holds it, got {path}: {came}") from None
    if not text:
        raise ConfigError(f"{key}: wanted a file that holds it, got {path}, which is empty")
    return Secret(text)


def _meant(key: str, kinds: Mapping[str, Kind], spell: Callable[[str], str] = str) -> str:
    """`, did you mean …?`, or nothing when nothing is like it."""
    near = get_close_matches(key, kinds, n=1, cutoff=_ALIKE)
    return f", did you mean {spell(near[0])}?" if near else ""
