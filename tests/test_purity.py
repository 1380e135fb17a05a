"""Operators and models read no clock, draw no unseeded number, open nothing and log nothing."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for layer in ("operators", "models") for path in (ROOT / layer).rglob("*.py"))
IMPURE = {
    *("asyncio", "glob", "http", "io", "logging", "mmap", "multiprocessing", "os", "pathlib"),
    *("pickle", "random", "secrets", "select", "shutil", "signal", "socket", "subprocess", "sys"),
    *("tempfile", "threading", "time", "urllib", "uuid"),
}
CALLS = {"open", "print", "input", "now", "utcnow", "today", "memmap", "fromfile", "tofile"}
SEEDED = {"default_rng", "Generator", "PCG64", "SeedSequence"}
ALLOWED = {
    "models/registry.py": {"os", "pathlib", "open"},  # keeps versions in files: what it is for
    "models/fenced.py": {"io", "pickle"},  # the one unpickler, of bytes in memory
    "operators/arena.py": {"mmap", "os"},  # memory without a file, as much as there is
}


def impurities(path: Path) -> Iterator[tuple[int, str]]:
    """Every line that reaches outside, with the name by which it does."""
    allowed = ALLOWED.get(str(path.relative_to(ROOT)), set())
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
            yield from ((node.lineno, name) for name in names & IMPURE - allowed)
        elif isinstance(node, ast.ImportFrom):
            if (name := str(node.module).split(".")[0]) in IMPURE - allowed:
                yield node.lineno, name
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            last = name.rsplit(".")[-1]
            unseeded = last in SEEDED and not (node.args or node.keywords)
            global_state = ".random." in name and last not in SEEDED
            if last in CALLS - allowed or unseeded or global_state:
                yield node.lineno, name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_of_operators_or_models_reaches_nothing_outside(path: Path) -> None:
    assert list(impurities(path)) == []


@pytest.mark.parametrize(
    "text",
    [
        "import time", "from os import environ", "import numpy.random, random", "open('x')",
        "datetime.now(UTC)", "np.random.default_rng()", "np.random.rand(3)", "print(1)",
    ],
)  # fmt: skip
def test_what_reaches_outside_is_seen(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "operator.py"
    path.write_text(text)
    assert list(impurities(path))
