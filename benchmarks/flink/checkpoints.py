"""A checkpoint of a job on Flink, taken when it is asked for, in Flink's own figures."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, NamedTuple, TypeVar

from benchmarks.flink.network import operator
from jobs.flink_host.cluster import FlinkCluster
from streams.errors import InputError, ServiceError

T = TypeVar("T")
Kind = Literal["FULL", "CONFIGURED"]
WAIT_S, LOOK_S = 120.0, 0.02


class Checkpoint(NamedTuple):
    """A checkpoint or savepoint that is complete."""

    seconds: float
    """From its trigger to its end."""
    bytes: int
    """Written for it."""
    whole: int
    """Bytes that it is made of, those that earlier ones wrote among them."""
    operators: dict[str, int]
    """The same, by operator; those without state left out."""
    place: str
    """Where a job can go on from."""


def checkpoint(cluster: FlinkCluster, job: str, kind: Kind) -> Checkpoint:
    """Take one; as a job of ours is configured, one that leaves out what earlier ones wrote."""
    at = f"/jobs/{job}/checkpoints"
    asked = cluster.ask(at, {"checkpointType": kind})["request-id"]

    def number() -> int | None:
        told = cluster.ask(f"{at}/{asked}")
        return told["operation"]["checkpointId"] if told["status"]["id"] == "COMPLETED" else None

    return _taken(cluster, job, _awaited(number))


def savepoint(cluster: FlinkCluster, job: str) -> Checkpoint:
    """The newest savepoint of a job."""

    def number() -> int | None:
        newest = cluster.ask(f"/jobs/{job}/checkpoints")["latest"]["savepoint"]
        return newest["id"] if newest else None

    return _taken(cluster, job, _awaited(number))


def _taken(cluster: FlinkCluster, job: str, number: int) -> Checkpoint:
    """What Flink tells of a checkpoint; it knows of one only some seconds after it was taken."""

    def details() -> dict[str, Any] | None:
        with suppress(InputError):
            told: dict[str, Any] = cluster.ask(f"/jobs/{job}/checkpoints/details/{number}")
            return told if told["status"] == "COMPLETED" else None
        return None

    told, vertices = _awaited(details), cluster.ask(f"/jobs/{job}")["vertices"]
    names = {each["id"]: operator(each["name"]) for each in vertices}
    return Checkpoint(
        seconds=told["end_to_end_duration"] / 1000,
        bytes=told["checkpointed_size"],
        whole=told["state_size"],
        operators={
            names[vertex]: task["state_size"]
            for vertex, task in told["tasks"].items()
            if task["state_size"]
        },
        place=told["external_path"],
    )


def _awaited(look: Callable[[], T | None]) -> T:
    """What is seen, once there is anything. Raises ServiceError when it is not in time."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(LOOK_S)
    raise ServiceError(
        f"wanted a checkpoint in {WAIT_S:g} s, got none: see the job's checkpoints on the web page"
    )
