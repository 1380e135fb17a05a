"""Starts a peer in an environment of its own, as something to be measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

from benchmarks.peers.job import Job
from benchmarks.prove import ROOT
from jobs.config import Settings
from jobs.load.clients import connection
from jobs.load.generator import Target
from jobs.load.stand import APPENDED, running
from jobs.load.topics import made
from jobs.stack.jars import FLINK_CONNECTOR, fetch, jars_folder

PEERS = {
    "Quix Streams": "quix_streams",
    "Quix sliding windows": "quix_windows",
    "PyFlink": "pyflink_stream",
    "Flink SQL": "flink_sql",
    "Faust": "faust_streaming",
}
"""By what the tables call them, the module."""


@contextmanager
def peer(
    name: str, settings: Settings, source: str, processes: Mapping[str, int]
) -> Iterator[Target]:
    """A peer that reads a topic from its beginning; its own topic goes with the context.

    It delivers as the settings say, where it can, and commits as often where that is exactly-once.

    The first start fetches what its environment holds.
    """
    module = f"benchmarks.peers.{PEERS[name]}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="headrace-peer-")))
        fetch([FLINK_CONNECTOR])
        (folder / "connector.jar").symlink_to(jars_folder() / FLINK_CONNECTOR.name)
        target = f"{source}-{PEERS[name].replace('_', '-')}"
        stack.enter_context(made(connection(settings), {target: APPENDED}))
        exactly_once = settings.delivery == "exactly-once"
        job = Job(settings.brokers, source, target, str(folder), exactly_once, settings.commit_ms)
        uv = which("uv") or str(ROOT / ".tools" / "bin" / "uv")
        command = [uv, "run", "--no-project", "--quiet", "--python", "3.11"]
        for package in import_module(module).PACKAGES:
            command += ["--with", package]
        command += ["python", "-m", module, job.text()]
        ours = {"PYTHONPATH": str(ROOT), "VIRTUAL_ENV": ""}
        process = stack.enter_context(running(folder, PEERS[name], command, ours))
        yield Target(
            name=name,
            events=source,
            predictions=target,
            processes={**processes, name: process.pid or 0},
        )
