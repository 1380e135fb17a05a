"""Bytes that travel: from operator to operator as Flink counts them, and in the broker's log."""

from __future__ import annotations

from pathlib import Path

from jobs.flink_host.cluster import FlinkCluster

OURS = {"read", "index", "windows"}
"""Our operators, each by the first word of its name."""


def between(cluster: FlinkCluster, job: str) -> dict[str, int]:
    """Bytes that each of our operators handed to the next through Flink's buffers, by its name.

    Of a job that has ended they are exact; while it runs they lag behind by up to ten seconds.
    """
    sent = {
        operator(each["name"]): each["metrics"]["write-bytes"]
        for each in cluster.ask(f"/jobs/{job}")["vertices"]
    }
    return {name: count for name, count in sent.items() if name.split("-")[0] in OURS}


def operator(name: str) -> str:
    """What comes first of the operators that Flink has chained into one.

    >>> operator("windows-terminal, _stream_key_by_map_operator -> (predictions: Writer)")
    'windows-terminal'
    """
    return name.removeprefix("Source: ").split(" -> ")[0].split(", ")[0]


def in_log(folder: Path, topic: str) -> int:
    """Bytes of a topic's only partition in the log of a broker whose folder this is."""
    return sum(each.stat().st_size for each in folder.glob(f"kafka/records/{topic}-0/*.log"))
