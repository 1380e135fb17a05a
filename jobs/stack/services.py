"""The services of one stack folder: started together, listed, stopped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from jobs.stack.flink import Flink
from jobs.stack.kafka import Kafka
from jobs.stack.redis import Redis
from jobs.stack.service import Service

KINDS: Mapping[str, type[Service[Any]]] = MappingProxyType(
    {kind.name: kind for kind in (Kafka, Redis, Flink)}
)
DEFAULT = ("kafka", "redis")


def asked(name: str, folder: Path, settings: Mapping[str, object]) -> Service[Any]:
    """A service of the folder with the settings given; others are as when it was last started.

    >>> asked("redis", Path("stack"), {"port": 7000}).address
    'redis://127.0.0.1:7000'
    """
    kind = KINDS[name]
    before = kind.at(folder / name)
    base = kind.kind() if before is None else before.settings
    return kind(folder / name, msgspec.structs.replace(base, **settings))


def known(folder: Path, names: Sequence[str] = ()) -> Iterator[Service[Any]]:
    """The services that were ever started in the folder, or those of the names."""
    for name, kind in KINDS.items():
        service = kind.at(folder / name)
        if service is not None and (not names or name in names):
            yield service


def state(service: Service[Any]) -> str:
    """How a service is, in a word or two: up, down, or what is wrong with it."""
    down = [process.name for process in service.processes if process.pid is None]
    if len(down) == len(service.processes):
        return "down"
    if down:
        return f"no {', '.join(down)}"
    return "up" if service.answers() else "does not answer"


def stop(service: Service[Any]) -> bool:
    """Stop a service, whole or in part. Returns whether anything of it ran."""
    ran = any(process.pid for process in service.processes)
    service.stop()
    return ran


def wipe(service: Service[Any]) -> None:
    """Remove the folder of a service that was stopped, with all it held."""
    shutil.rmtree(service.folder)
