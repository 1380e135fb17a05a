"""Which code this process runs: a TaskManager imports it once, whatever is installed after that."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("streams", "models", "operators", "jobs")
NUMERIC = ("numpy", "numba", "pyarrow")
"""Libraries whose version decides over bits."""


def _release() -> str:
    """A hash of our source, of the interpreter's version and of those libraries'."""
    digest = hashlib.blake2b(platform.python_version().encode(), digest_size=8)
    for name in NUMERIC:
        digest.update(f"{name} {version(name)}\n".encode())
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(f"{path.relative_to(ROOT)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


RELEASE = _release()
"""Of the code as it was imported."""
