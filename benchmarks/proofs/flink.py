"""A job on a real Flink cluster, killed and rescaled as often as the claim has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.proofs.outages import run_test
from benchmarks.proofs.proof import BrokenError, Proof, Record

FILE = "tests/test_flink.py"
JOB_MANAGERS = 2
TESTS = (
    "test_killed_rescaled_changed_and_moved_by_savepoints_a_job_loses_and_doubles_nothing",
    "test_with_high_availability_a_job_outlives_its_jobmanager",
)


def steps(count: int, done: Sequence[Record], _: Path) -> Iterator[Record]:
    """A step for each test: from 1 to 2 to 4 tasks and back, `count` TaskManagers killed."""
    kills = [count // 4 + (place < count % 4) for place in range(4)]
    stages = ",".join(f"{n}:{killed}" for n, killed in zip((1, 2, 4, 1), kills, strict=True))
    environment = {
        "HEADRACE_FLINK_STAGES": stages,
        "HEADRACE_FLINK_JOB_MANAGERS": str(JOB_MANAGERS),
    }
    tried = {each["test"] for each in done}
    for name in (name for name in TESTS if name not in tried):
        ran = run_test("-q", "-rs", f"{FILE}::{name}", **environment)
        if ran.returncode or "skipped" in ran.stdout.splitlines()[-1]:
            raise BrokenError(f"{name}: {ran.stdout[-4000:]}{ran.stderr[-1000:]}")
        yield {"test": name, "task_managers": count, "job_managers": JOB_MANAGERS}


def figures(records: Sequence[Record]) -> Record:
    """How often what was killed."""
    return {
        "count": min((each["task_managers"] for each in records), default=0),
        "job_managers": JOB_MANAGERS,
        "tasks": [1, 2, 4, 1],
    }


FLINK = Proof(
    "a job on Flink whose TaskManager and JobManager are killed by SIGKILL under load, and that is "
    "stopped with savepoints and rescaled from 1 to 2, 4 and 1 tasks, with other features at last, "
    "says what the embedded host says over the same records, each prediction once, under "
    "exactly-once",
    10,
    "kills of the TaskManager",
    steps,
    figures,
)
