"""Imports point one way: streams, models, operators, jobs; and only one file knows numba."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ["streams", "models", "operators", "jobs"]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for layer in LAYERS
    for path in sorted((ROOT / layer).rglob("*.py"))
}


def imports(path: Path) -> set[str]:
    """Return every module that a file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import at line {node.lineno}"
            module = node.module or ""
            names = {f"{module}.{alias.name}" for alias in node.names}
            found |= (names & FILES.keys()) or {module}
    return found


@pytest.mark.parametrize("module", FILES)
def test_a_file_imports_only_from_its_own_layer_and_those_below(module: str) -> None:
    above = set(LAYERS[LAYERS.index(FILES[module].relative_to(ROOT).parts[0]) + 1 :])
    above |= {"headrace", "benchmarks", "tests"}
    assert not {name for name in imports(FILES[module]) if name.split(".")[0] in above}


def test_no_file_imports_itself_by_a_detour() -> None:
    TopologicalSorter(
        {module: imports(path) & FILES.keys() - {module} for module, path in FILES.items()}
    ).prepare()


@pytest.mark.parametrize("module", sorted(FILES.keys() - {"streams.jit"}))
def test_only_the_typed_wrapper_imports_numba(module: str) -> None:
    assert not {name for name in imports(FILES[module]) if name.split(".")[0] == "numba"}
