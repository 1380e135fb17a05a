"""A user's pipeline file, by its path."""

from __future__ import annotations

import hashlib
import sys
import traceback
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from jobs import fraud
from jobs.definition import Pipeline
from streams.errors import ConfigError

SHIPPED = {"fraud": fraud.pipeline}


def load_pipeline(name: str) -> Pipeline:
    """The pipeline that the file defines as `pipeline`, or the shipped one of this name.

    The file runs under a private name, and its folder is not searched for modules, so nothing that
    lies beside it stands in the way of ours. Raises ConfigError, with the line, for what is wrong
    in it.
    """
    if name in SHIPPED:
        return SHIPPED[name]
    path = Path(name).resolve()
    if not path.is_file():
        shipped = ", ".join(SHIPPED)
        raise ConfigError(
            f"{name}: no such pipeline file; name one, or a shipped pipeline ({shipped}), or make "
            "one with `headrace init DIR`"
        )
    pipeline = getattr(_run(path), "pipeline", None)
    if not isinstance(pipeline, Pipeline):
        found = "nothing of that name" if pipeline is None else f"a {type(pipeline).__name__}"
        raise ConfigError(f"{path}: wanted `pipeline = Pipeline(...)`, found {found}")
    _check(path, pipeline)
    return replace(pipeline, file=str(path))


def _run(path: Path) -> ModuleType:
    digest = hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()
    name = f"headrace_pipeline_{digest}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: wanted a Python file, with a name that ends in .py")
    module = module_from_spec(spec)
    # Kernels are found again by the name of their module.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(_explain(path, error)) from error
    return module


def _explain(path: Path, error: Exception) -> str:
    """Where in the user's file it went wrong, and how."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}:{error.lineno}: {error.msg}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    where = f"{path}:{lines[-1]}" if lines else str(path)
    said = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError):
        said += "; a pipeline file imports headrace and what is installed, no file beside it"
    return f"{where}: {said}"


def _check(path: Path, pipeline: Pipeline) -> None:
    """Find now what would else be found when the run begins."""
    try:
        plan = pipeline.plan()
        for model in pipeline.models.values():
            model.bind(plan.names)
        pipeline.watching()
    except (ConfigError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{path}: {error}") from error
