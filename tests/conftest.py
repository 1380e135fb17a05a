"""Profiles for the property tests, and the public data where it is at hand."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.kafka_server import kafka_broker, own_kafka, own_redis, redis_server

__all__ = ["kafka_broker", "own_kafka", "own_redis", "redis_server"]

# What a shell starts in the background ignores Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Kernels compile on their first call, so a deadline would judge the compiler.
settings.register_profile(
    "dev", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=100,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "prove",
    deadline=None,
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "500")),
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture(scope="session")
def handbook() -> Path:
    """Path of the Fraud Detection Handbook's transactions in the folder HEADRACE_DATA names."""
    folder = os.environ.get("HEADRACE_DATA")
    if not folder:
        pytest.skip("HEADRACE_DATA names no folder, so the Handbook's transactions are not here")
    path = Path(folder) / "handbook_raw.parquet"
    if not path.is_file():
        pytest.skip(f"no handbook_raw.parquet in HEADRACE_DATA={folder}")
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Path of a file system of 2 MB, where mounting one is permitted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
