"""The Python that this process runs on, file by file: interpreter, libraries, our own code."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import cache_from_source
from pathlib import Path

from jobs.release import PACKAGES, ROOT
from jobs.stack.extras import optional
from streams.errors import ConfigError

PROJECT = "headrace"
NEEDED = ("flink", "kafka", "stack")
"""The extras without which there is no cluster: Flink, the reader's client, Java."""
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
_UNUSED = ("test", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip", "site-packages")
"""Of the standard library; and the folder of its build, `config-…`."""


def interpreter() -> Iterator[tuple[str, Path]]:
    """The program, its shared library and the standard library, by their places under a prefix.

    Raises ConfigError for a Python without a shared library: Java could not load it.
    """
    shared = optional("find_libpython", "flink").find_libpython()
    if shared is None:
        raise ConfigError(
            f"{sys.executable}: wanted a Python with a shared library, which Flink loads into "
            "Java, got one without: make the environment with one of `uv python install`"
        )
    yield f"bin/{PYTHON}", Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    yield f"lib/{Path(shared).name}", Path(shared)
    stdlib = Path(sysconfig.get_path("stdlib"))
    for path in stdlib.rglob("*"):
        below = path.relative_to(stdlib)
        top = below.parts[0]
        if top not in _UNUSED and not top.startswith("config-") and path.is_file():
            yield f"lib/{PYTHON}/{below}", path


def libraries(extras: Iterable[str]) -> list[Distribution]:
    """What the project with these extras needs to run, itself left out.

    Raises ConfigError for an extra that there is not, or that is not installed.
    """
    requirement = optional("packaging.requirements", "flink").Requirement
    project = distribution(PROJECT)
    known = project.metadata.get_all("Provides-Extra") or []
    asked = tuple(sorted({*NEEDED, *extras}))
    for extra in asked:
        if extra not in known:
            raise ConfigError(f"--extra: wanted one of {', '.join(known)}, got {extra}")
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, tuple[str, ...]]] = set()
    waiting: list[tuple[Distribution, tuple[str, ...]]] = [(project, asked)]
    while waiting:
        each, wanted = waiting.pop()
        if (each.name, wanted) in seen:
            continue
        seen.add((each.name, wanted))
        found[each.name] = each
        for line in each.requires or ():
            needed = requirement(line)
            marker = needed.marker
            if marker and not any(marker.evaluate({"extra": e}) for e in (wanted or ("",))):
                continue
            try:
                waiting.append((distribution(needed.name), tuple(sorted(needed.extras))))
            except PackageNotFoundError:
                raise ConfigError(
                    f"{needed.name} is wanted by {each.name} and not installed: run `uv sync "
                    f"--inexact {' '.join(f'--extra {extra}' for extra in asked)}`"
                ) from None
    del found[PROJECT]
    return sorted(found.values(), key=lambda each: each.name)


def library_files(library: Distribution) -> Iterator[tuple[str, Path]]:
    """What was installed of a library but its programs, by its places in `site-packages`."""
    for file in library.files or ():
        path = Path(str(library.locate_file(file)))
        if ".." not in file.parts and path.is_file():
            yield from _compiled(str(file), path)


def own_files() -> Iterator[tuple[str, Path]]:
    """Our packages and what is known of us as a library, by their places in `site-packages`."""
    yield "headrace.py", ROOT / "headrace.py"
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield from _compiled(str(path.relative_to(ROOT)), path)
    for file in distribution(PROJECT).files or ():
        if file.name == "METADATA":
            yield str(file), Path(str(distribution(PROJECT).locate_file(file)))


def _compiled(place: str, path: Path) -> Iterator[tuple[str, Path]]:
    """A file, and beside it what Python has compiled of it."""
    yield place, path
    if path.suffix == ".py":
        bytecode = Path(cache_from_source(str(path)))
        if bytecode.is_file():
            yield str(Path(place).parent / "__pycache__" / bytecode.name), bytecode
