"""What Kafka, Redis and Flink here have in common: a folder, settings, processes, a start."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Generic, NamedTuple, Self, TypeVar

import msgspec

from jobs.stack.ports import want_free
from jobs.stack.process import POLL, Process
from streams.atomic import write_whole
from streams.errors import ConfigError, ServiceError

Settings = TypeVar("Settings", bound=msgspec.Struct)


class Port(NamedTuple):
    """A port that a process listens on."""

    of: str
    """Whose it is, for a message."""
    option: str
    """The option of `headrace up` that changes it."""
    number: int


class Service(ABC, Generic[Settings]):
    """A service by its folder: logs, settings and what it holds stay there between its starts.

    `start` and `stop` may be called in any state; `kill`, `pause` and `resume` are the outages of
    a test. Objects for one folder, in any process, speak of one service. It listens on 127.0.0.1
    only.
    """

    name: ClassVar[str]
    kind: type[Settings]
    """The class of its settings, whose defaults are those of `headrace up`."""
    start_s: ClassVar[float] = 60.0
    """How long a process may take to answer; alone on two cores it takes seconds."""
    stop_s: ClassVar[float] = 20.0
    """How long a process may take to end before it is made to."""

    def __init__(self, folder: Path, settings: Settings | None = None) -> None:
        self.folder = folder.absolute()
        self.settings = self.kind() if settings is None else settings
        self.processes = [Process(self.folder, name) for name in self.process_names()]

    @classmethod
    def at(cls, folder: Path) -> Self | None:
        """The service of a folder as it was last started, or None where there never was one."""
        try:
            kept = (folder / "settings.json").read_bytes()
        except FileNotFoundError:
            return None
        return cls(folder, msgspec.json.decode(kept, type=cls.kind))

    @property
    @abstractmethod
    def address(self) -> str:
        """What clients connect to."""

    @abstractmethod
    def ports(self, process: Process) -> Sequence[Port]:
        """The ports that the process will listen on."""

    @abstractmethod
    def want_installed(self) -> None:
        """Raise ConfigError, with the command that helps, where a package it needs is absent."""

    @abstractmethod
    def prepare(self) -> None:
        """Write what the processes need before they start; the folder is there."""

    @abstractmethod
    def command(self, process: Process) -> tuple[Sequence[str], dict[str, str]]:
        """The command, by absolute path, and the environment of a process."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the service, asked as a client would, answers."""

    def process_names(self) -> Sequence[str]:
        """The names of its processes in the order in which they start."""
        return [self.name]

    @property
    def pid(self) -> int | None:
        """The pid of the process that clients speak to, or None unless all processes run."""
        pids = [process.pid for process in self.processes]
        return None if None in pids else pids[-1]

    @property
    def log(self) -> Path:
        """What the process that clients speak to says."""
        return self.processes[-1].log

    def start(self) -> bool:
        """Start what does not run and return once the service answers; False if it was up.

        Raises ConfigError for a taken port, or if the service is up with other settings;
        ServiceError, with the end of the log, if it does not answer. What was started is killed if
        this fails or is interrupted.
        """
        absent = self.startable()
        if not absent:
            self._wait()
            return False
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.prepare()
        write_whole(self.folder / "settings.json", [msgspec.json.encode(self.settings)])
        try:
            for process in absent:
                process.start(*self.command(process))
            self._wait()
        except BaseException:
            for process in absent:
                process.kill()
            raise
        return True

    def startable(self) -> list[Process]:
        """The processes that `start` would start. Raises ConfigError as it would."""
        absent = [process for process in self.processes if process.pid is None]
        if len(absent) < len(self.processes):
            self._want_same()
        if absent:
            self.want_installed()
        for process in absent:
            for port in self.ports(process):
                want_free(*port)
        return absent

    def stop(self) -> None:
        """Shut it down in good order, by force what does not end in time."""
        for process in reversed(self.processes):
            process.stop(self.stop_s)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        for process in self.processes:
            process.kill()

    def pause(self) -> None:
        """Let it hang, connections open, until `resume`."""
        for process in self.processes:
            process.pause()

    def resume(self) -> None:
        """Let it go on after `pause`."""
        for process in self.processes:
            process.resume()

    def _wait(self) -> None:
        """Return when the service answers. Raises ServiceError if it ends or takes too long."""
        deadline = time.monotonic() + self.start_s
        while not self.answers():
            for process in self.processes:
                if process.pid is None:
                    raise ServiceError(f"{process.name} ended while starting; {process.tail()}")
            if time.monotonic() > deadline:
                process = self.processes[-1]
                raise ServiceError(
                    f"{self.name} does not answer at {self.address} after {self.start_s:g} s; "
                    f"{process.tail()}"
                )
            time.sleep(POLL)

    def _want_same(self) -> None:
        before = type(self).at(self.folder)
        if before is not None and before.settings != self.settings:
            raise ConfigError(
                f"{self.name} in {self.folder} is up at {before.address} with other settings than "
                "were asked; ask the same, or run `headrace down` first"
            )
