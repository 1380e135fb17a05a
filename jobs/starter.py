"""`headrace init`: a commented pipeline to start from."""

from __future__ import annotations

from pathlib import Path

from streams.atomic import write_whole
from streams.errors import ConfigError, OutputError

_TEMPLATES = Path(__file__).parent / "templates"
FILES = {"pipeline.py": "pipeline.txt", "README.md": "README.txt"}
"""Name in the new folder → name among the templates."""


def write_starter(folder: Path) -> list[Path]:
    """Write the starter's files into the folder, made if absent; their paths.

    Raises ConfigError, nothing written, if one of them is there already.
    """
    there = [name for name in FILES if (folder / name).exists()]
    if there:
        raise ConfigError(f"{folder / there[0]}: is there already; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}; name another folder") from None
    for name, template in FILES.items():
        write_whole(folder / name, [(_TEMPLATES / template).read_bytes()])
    return [folder / name for name in FILES]
