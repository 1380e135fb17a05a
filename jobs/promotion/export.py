"""A version as a file that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from safetensors.numpy import save

from models.base import Version
from models.exchange import onnx_of
from models.manifest import Manifest
from models.neural_version import NeuralVersion
from streams.errors import ConfigError

ENDINGS = (".onnx", ".safetensors")


def want_known(file: Path) -> None:
    """ConfigError unless the ending of a file says how to write it."""
    if file.suffix not in ENDINGS:
        raise ConfigError(f"{file}: wanted a file that ends in {' or '.join(ENDINGS)}")


def exported(about: Manifest, version: Version, file: Path) -> bytes:
    """The bytes of that file; ConfigError for a kind of model that it cannot hold."""
    if file.suffix == ".safetensors":
        said: dict[str, Any] = {
            "kind": version.kind,
            "names": list(version.names),
            "config": version.config(),
        }
        said |= {"model": about.name, "title": about.title, "sequence": about.sequence}
        metadata = {name: orjson.dumps(value).decode() for name, value in said.items()}
        return save(dict(version.tensors()), metadata)
    if not isinstance(version, NeuralVersion):
        raise ConfigError(
            f"{file}: wanted a version of Neural, which ONNX can hold, got {about.name} "
            f"{about.title}, of kind {version.kind!r}; write it as .safetensors"
        )
    return onnx_of(version)
