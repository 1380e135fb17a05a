"""The window kernels give the same bits as plain Python, which also counts their lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def bits(disabled: str) -> str:
    """What `window_bits.py` prints with kernels compiled ("0") or as plain Python ("1")."""
    done = subprocess.run(
        [sys.executable, HERE / "window_bits.py"],
        env=os.environ | {"NUMBA_DISABLE_JIT": disabled, "PYTHONPATH": str(HERE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_window_kernels_give_the_same_bits_as_plain_python() -> None:
    assert bits("1") == bits("0")
