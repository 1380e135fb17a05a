"""What `headrace` gives to a pipeline file: these names, and nothing else."""

import ast
from pathlib import Path

import pytest

import headrace
from jobs.starter import _TEMPLATES, FILES

ROOT = Path(__file__).parents[1]
PIPELINES = [ROOT / "examples" / "machines" / "pipeline.py", _TEMPLATES / FILES["pipeline.py"]]
TREE = ast.parse((ROOT / "headrace.py").read_text())


def test_every_name_it_imports_is_exported_and_no_other() -> None:
    imported = [
        alias.name for node in TREE.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert sorted(imported) == sorted(headrace.__all__)


def test_it_holds_nothing_but_imports() -> None:
    doc, *rest = TREE.body
    assert isinstance(doc, ast.Expr)
    assert all(isinstance(node, ast.ImportFrom | ast.Assign) for node in rest)


@pytest.mark.parametrize("name", headrace.__all__)
def test_every_name_says_what_it_is(name: str) -> None:
    assert getattr(headrace, name).__doc__


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.name)
def test_a_pipeline_file_imports_only_headrace(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text()))
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert modules == {"headrace"}
