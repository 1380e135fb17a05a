"""The invariants of flow, windows and index, tried on many more examples than `make test` does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.proofs.proof import BrokenError, Proof, Record

ROOT = Path(__file__).parents[2]
TESTS = ("tests/test_flow.py", "tests/test_windows.py", "tests/test_index.py")


def steps(count: int, done: Sequence[Record], _: Path) -> Iterator[Record]:
    """A step for each test that hypothesis feeds."""
    tried = {each["test"] for each in done}
    for name in _properties():
        if name not in tried:
            yield {"test": name, "examples": _try(name, count)}


def _properties() -> list[str]:
    """The tests that hypothesis feeds, by their pytest names."""
    command = ["--collect-only", "-q", "-m", "hypothesis", *TESTS]
    listed = _pytest(command, {}).stdout
    return [line for line in listed.splitlines() if "::" in line]


def _try(name: str, count: int) -> int:
    """Run one test on so many examples; how many hypothesis says it took."""
    environment = {"HYPOTHESIS_PROFILE": "prove", "HYPOTHESIS_EXAMPLES": str(count)}
    ran = _pytest(["-q", "--hypothesis-show-statistics", name], environment)
    if ran.returncode:
        raise BrokenError(f"{name}: {ran.stdout[-4000:]}{ran.stderr[-1000:]}")
    tried = sum(map(int, re.findall(r"(\d+) passing", ran.stdout)))
    if not tried:
        raise BrokenError(f"{name}: wanted {count} examples to pass, got none: {ran.stdout}")
    return tried


def _pytest(
    arguments: Sequence[str], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def figures(records: Sequence[Record]) -> Record:
    """The least that any test was tried, and all together."""
    examples = [each["examples"] for each in records]
    return {
        "count": min(examples, default=0),
        "tests": len(records),
        "examples_in_all": sum(examples),
    }


INVARIANTS = Proof(
    "batch, order, restart, time, ledger and versions hold on random small streams, windows equal "
    "brute force, and the index equals its plain twin, 20 times as often as `make test` tries",
    500,
    "examples a test",
    steps,
    figures,
)
