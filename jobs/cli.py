"""The command `headrace`, as `pyproject.toml` names it."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

_PACKAGES = ("streams", "models", "operators")


def main() -> None:
    """Run the command line: status 0, 1 after an error, 2 after wrong usage, 130 after Ctrl-C."""
    claim_packages()
    from jobs.commands import headrace

    headrace(prog_name="headrace")


def claim_packages() -> None:
    """Import our packages before a folder of the user's with such a name can be found."""
    home = str(Path(__file__).resolve().parents[1])
    sys.path.insert(0, home)
    try:
        for name in _PACKAGES:
            import_module(name)
    finally:
        sys.path.remove(home)


if __name__ == "__main__":
    main()
