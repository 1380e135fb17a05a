"""What is around the score job is away for half a minute, in place of a few seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.proofs.proof import BrokenError, Proof, Record

ROOT = Path(__file__).parents[2]
FILE = "tests/test_outages.py"


def steps(count: int, done: Sequence[Record], _: Path) -> Iterator[Record]:
    """A step for each test, its outages lasting so many seconds."""
    tried = {each["test"] for each in done}
    listed = run_test("--collect-only", "-q", FILE).stdout.splitlines()
    for name in (line for line in listed if "::" in line):
        if name not in tried:
            ran = run_test("-q", "-rs", name, HEADRACE_OUTAGE_S=str(count))
            if ran.returncode:
                raise BrokenError(f"{name}: {ran.stdout[-4000:]}{ran.stderr[-1000:]}")
            yield {
                "test": name,
                "seconds": count,
                "held": "skipped" not in ran.stdout.splitlines()[-1],
            }


def run_test(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """How pytest ended with these arguments."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def figures(records: Sequence[Record]) -> Record:
    """What was tried, and what this machine does not permit to try."""
    held = [each["test"] for each in records if each["held"]]
    return {
        "count": min((each["seconds"] for each in records), default=0),
        "held": len(held),
        "not_permitted_here": [each["test"] for each in records if not each["held"]],
    }


OUTAGES = Proof(
    "a broker, a job or Redis away for so long costs no prediction",
    30,
    "seconds",
    steps,
    figures,
)
