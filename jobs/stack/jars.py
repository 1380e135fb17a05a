"""Kafka's jars: fetched by coordinate, held to the hashes in `jars.lock`, kept in the user's cache.

`python -m jobs.stack.jars` resolves `ROOTS` anew and writes the lock.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from jobs.stack.extras import optional
from streams.errors import InputError

KAFKA_VERSION = "4.3.1"
ROOTS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    f"org.apache.kafka:kafka-tools:{KAFKA_VERSION}",
    # From Kafka's slf4j to its log4j; the mark keeps the versions that it would like itself out.
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!",
)
LOCK = Path(__file__).with_name("jars.lock")
CONNECTIONS = 8
ABANDONED_S = 3600
WAITS_S = (2.0, 6.0)
"""Before the network is tried again: names are not always found at once."""


class _UnreachableError(InputError):
    """The network did not give a jar."""


class Jar(NamedTuple):
    """One line of the lock."""

    coordinate: str
    """group:artifact:version"""
    sha256: str

    @property
    def name(self) -> str:
        """The file's name.

        >>> Jar("org.apache.kafka:kafka-tools:4.3.1", "").name
        'kafka-tools-4.3.1.jar'
        """
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


FLINK_CONNECTOR = Jar(
    "org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2",
    "5605c691d11a501382c383fecba37a7a552467da5ab7ba904ef5d6f3d62c5616",
)
"""Kafka for Flink 2.3, in one jar with all that it needs."""


def jars_folder() -> Path:
    """Where jars are kept: `$HEADRACE_CACHE/jars`, by default `~/.cache/headrace/jars`."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HEADRACE_CACHE") or Path(cache) / "headrace") / "jars"


def locked() -> list[Jar]:
    """The jars of the lock, in its order."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    return [Jar(*line.split()) for line in lines if not line.startswith("#")]


def classpath() -> list[Path]:
    """Where every locked jar is once it was fetched."""
    return [jars_folder() / jar.name for jar in locked()]


def missing(jars: Sequence[Jar] = ()) -> list[Jar]:
    """The jars that `fetch` would have to fetch; those that are there are not read."""
    return [jar for jar in jars or locked() if not (jars_folder() / jar.name).exists()]


def fetch(jars: Sequence[Jar] = ()) -> None:
    """Have these jars, or else the locked, in `jars_folder`: fetched where absent, hash verified.

    A jar appears there whole and verified or not at all; several processes may fetch at once.
    Raises InputError for a jar that cannot be had or is not the one of the lock.
    """
    for wait_s in (*WAITS_S, None):
        try:
            _download(missing(jars), jars_folder())
            break
        except _UnreachableError:
            if wait_s is None:
                raise
            time.sleep(wait_s)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda jar: _verify(jar, jars_folder() / jar.name), jars or locked()))


def _download(jars: list[Jar], folder: Path) -> None:
    if not jars:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("fetching-*"):
        # Of a process that was killed; a younger one may be at work.
        if time.time() - left.stat().st_mtime > ABANDONED_S:
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(dir=folder, prefix="fetching-") as scratch:
        maven = _maven(Path(scratch))

        def one(jar: Jar) -> None:
            group, artifact, version = jar.coordinate.split(":")
            try:
                path = maven.project(group, artifact).at_version(version).artifact().resolve()
            except (OSError, RuntimeError, ValueError) as error:
                raise _UnreachableError(
                    f"{jar.coordinate}: wanted the jar from the network, got {error}; "
                    f"go online once, or put {jar.name} into {folder}"
                ) from error
            _verify(jar, path)
            path.replace(folder / jar.name)

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            asked = [pool.submit(one, jar) for jar in jars]
            try:
                for each in as_completed(asked):
                    each.result()
            finally:
                pool.shutdown(cancel_futures=True)


def _verify(jar: Jar, path: Path) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != jar.sha256:
        path.unlink()
        raise InputError(
            f"{path}: wanted {jar.coordinate} with sha256 {jar.sha256}, got {found}: damaged or "
            "tampered with; it was removed, so run again to fetch it anew"
        )


def _maven(repository: Path) -> Any:
    return optional("jgo.maven").MavenContext(repo_cache=repository)


def _lock(roots: Iterable[str]) -> str:
    """Resolve the roots with all they need at run time, and return the lock's text."""
    with TemporaryDirectory() as scratch:
        maven = _maven(Path(scratch))
        given, needed = maven.resolver.resolve([maven.create_dependency(root) for root in roots])
        artifacts = {
            f"{each.artifact.groupId}:{each.artifact.artifactId}:{each.artifact.version}": each
            for each in [*given, *needed]
            if each.scope in {None, "compile", "runtime"}
        }
        lines = [
            f"{name} {hashlib.sha256(each.artifact.resolve().read_bytes()).hexdigest()}"
            for name, each in sorted(artifacts.items())
        ]
    return "\n".join(["# Written by python -m jobs.stack.jars: coordinate, sha256.", *lines, ""])


if __name__ == "__main__":
    LOCK.write_text(_lock(ROOTS), encoding="utf-8")
