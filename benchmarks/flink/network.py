"""Bytes that travel: from operator to operator as Flink counts them, and in the broker's log."""

from __future__ import annotations

from pathlib import Path

from jobs.flink_host.cluster import FlinkCluster


def between(cluster: FlinkCluster, job: str) -> dict[str, int]:
    """Bytes that each operator of a job handed to the next over Flink's network, by its name.

    Of a job that has ended they are exact; while it runs they lag behind by up to ten seconds.
    """
    return {
        operator(each["name"]): each["metrics"]["write-bytes"]
        for each in cluster.ask(f"/jobs/{job}")["vertices"]
        if each["metrics"]["write-bytes"]
    }


def operator(name: str) -> str:
    """What comes first of the operators that Flink has chained into one.

    >>> operator("windows-terminal -> (predictions: Writer -> predictions: Committer)")
    'windows-terminal'
    """
    return name.removeprefix("Source: ").split(" -> ")[0]


def in_log(folder: Path, topic: str) -> int:
    """Bytes of a topic's only partition in the log of a broker whose folder this is."""
    return sum(each.stat().st_size for each in folder.glob(f"kafka/records/{topic}-0/*.log"))
