"""The learn job is last in line for the processor."""

import subprocess
import sys
from pathlib import Path

import pytest

SAID = """
import os
from pathlib import Path
from jobs.kafka_host.giving_way import give_way
give_way()
group = Path("/proc/self/autogroup")
assert os.sched_getscheduler(0) == os.SCHED_IDLE
assert len(os.sched_getaffinity(0)) == 1
print(os.getpriority(os.PRIO_PROCESS, 0), group.read_text() if group.exists() else "nice 19")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_a_process_that_gives_way_is_last_and_so_is_its_session() -> None:
    # A session of its own, as the learn job has: the group's niceness is the session's.
    run = subprocess.run(
        [sys.executable, "-c", SAID],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
    )
    niceness, group = run.stdout.strip().split(" ", 1)
    assert int(niceness) == 19
    assert group.endswith("nice 19")
