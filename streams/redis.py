"""A connection to Redis or Valkey: the address a setting gives, one script, patience and errors.

The client library is the extra `redis`; its errors are translated here, in one table, and no text
of ours ever holds a password.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from streams.errors import ConfigError, HeadraceError

WANTED = "redis://[user:password@]host[:port][/database], rediss://… for TLS, or unix:///path"
SCHEMES = ("redis", "rediss", "unix")
FILES = ("ca", "cert", "key", "password_file")
"""What may follow the `?` of an address: paths of files."""
CONNECT_SECONDS = 1.0
STEP_SECONDS = 0.02
"""While a reply is waited for, other work is let in so often."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is and how to log in; as text, without the password.

    >>> address = Address.parse("redis://ann:s%20cret@cache:6380/2")
    >>> address.password, str(address)
    ('s cret', 'redis://cache:6380/2')
    """

    scheme: str
    host: str
    """Of `unix`, the path of the socket."""
    port: int
    database: int
    user: str | None
    password: str | None = field(repr=False)
    files: dict[str, str]
    """Of `rediss`: `ca` to trust besides the system's, `cert` and `key` to be known by."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL. A password may lie in a file: `?password_file=PATH`.

        Raises ConfigError, without the URL, for one that is malformed or names a file that is not
        there.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or 6379
            options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        except ValueError:
            raise ConfigError(
                f"online: wanted {WANTED}, got what is no URL; a password's / : @ ? # and % are "
                "written %2F %3A %40 %3F %23 %25"
            ) from None
        unix = parts.scheme == "unix"
        host = unquote(parts.path) if unix else parts.hostname or ""
        if parts.scheme not in SCHEMES or not host:
            got = "another scheme" if parts.scheme not in SCHEMES else "no host"
            raise ConfigError(f"online: wanted {WANTED}, got {got}")
        database = options.pop("db", "0") if unix else parts.path.strip("/") or "0"
        if not database.isdecimal():
            raise ConfigError(f"online: wanted {WANTED}, got a database that is no number")
        password = unquote(parts.password) if parts.password else None
        files = _checked(options)
        if "password_file" in files:
            password = Path(files.pop("password_file")).read_text(encoding="utf-8").strip()
        user = unquote(parts.username) if parts.username else None
        return cls(parts.scheme, host, port, int(database), user, password, files)

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.host}?db={self.database}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/{self.database}"


def _checked(options: dict[str, str]) -> dict[str, str]:
    for name, path in options.items():
        if name not in FILES:
            raise ConfigError(f"online: no option {name!r}; there are {', '.join(FILES)}")
        if not Path(path).is_file():
            raise ConfigError(f"online: {name} wanted a file, got {path}, where none is")
    return options


class Script:
    """A script that runs on the server; sent once, then called by its hash."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Connection:
    """One connection, made at the first call and made anew after a failure.

    Every failure is the one error class it was given, in one line that names the server; a call
    that failed may or may not have been carried out.
    """

    def __init__(
        self, address: Address, error: type[HeadraceError], patience_seconds: float = 10.0
    ) -> None:
        self._address = address
        self._error = error
        self._patience = patience_seconds
        self._redis = _library()
        self._connection = self._unconnected()

    def _unconnected(self) -> Any:
        address, kinds = self._address, self._redis.connection
        options: dict[str, Any] = {
            "db": address.database,
            "username": address.user,
            "password": address.password,
            "socket_timeout": CONNECT_SECONDS,
            "client_name": "headrace",
        }
        if address.scheme == "unix":
            return kinds.UnixDomainSocketConnection(path=address.host, **options)
        options |= {"host": address.host, "port": address.port}
        if address.scheme == "redis":
            return kinds.Connection(**options)
        return kinds.SSLConnection(
            ssl_ca_certs=address.files.get("ca"),
            ssl_certfile=address.files.get("cert"),
            ssl_keyfile=address.files.get("key"),
            ssl_check_hostname=True,
            **options,
        )

    def call(
        self,
        script: Script,
        keys: Sequence[bytes],
        arguments: Sequence[bytes],
        idle: Callable[[], None] = lambda: None,
    ) -> Any:
        """Run the script over these keys; sends it first where the server does not know it.

        `idle` is called every STEP_SECONDS until the reply is there; what it raises ends the call.
        """
        words = [b"EVALSHA", script.digest.encode(), b"%d" % len(keys), *keys, *arguments]
        try:
            return self.ask(words, idle)
        except self._redis.exceptions.NoScriptError:
            self.ask([b"SCRIPT", b"LOAD", script.text.encode()], idle)
            return self.ask(words, idle)

    def ask(self, words: Sequence[bytes], idle: Callable[[], None] = lambda: None) -> Any:
        """Send one command and return its reply."""
        errors = self._redis.exceptions
        done = False
        try:
            self._connection.send_packed_command(packed(words))
            self._await_reply(idle)
            reply = self._connection.read_response()
            done = True
        except errors.NoScriptError:
            done = True
            raise
        except (errors.RedisError, OSError) as error:
            raise self._error(f"{self._address}: {self._said(error)}") from None
        finally:
            if not done:
                self._connection.disconnect()
        return reply

    def _await_reply(self, idle: Callable[[], None]) -> None:
        deadline = time.monotonic() + self._patience
        while not self._connection.can_read(STEP_SECONDS):
            if time.monotonic() > deadline:
                raise self._redis.exceptions.TimeoutError
            idle()

    def _said(self, error: Exception) -> str:
        """What happened and what to do, without what the library says of its arguments."""
        errors, text = self._redis.exceptions, str(error).replace("\n", " ")
        login = "the login was refused: check user and password"
        if self._address.password is None:
            login = "the server wants a login: give one in the URL, or a ?password_file=PATH"
        table: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
            (errors.AuthenticationError, login),
            (errors.TimeoutError, "no answer in time: see whether the server is up"),
            (errors.BusyLoadingError, "the server is still loading what it holds"),
            (errors.OutOfMemoryError, "the server is full: raise its maxmemory"),
            (errors.ReadOnlyError, "this server is a replica: name the primary"),
            (errors.NoPermissionError, f"the user may not do this: {text}"),
            (errors.ResponseError, text),
        )
        for kind, said in table:
            if isinstance(error, kind):
                return said
        return f"cannot be reached ({text})"

    def close(self) -> None:
        """Hang up."""
        self._connection.disconnect()


def packed(words: Sequence[bytes]) -> list[bytes]:
    r"""A command as the protocol (RESP) has it.

    >>> packed([b"GET", b"k"])
    [b'*2\r\n$3\r\nGET\r\n$1\r\nk\r\n']
    """
    lengths = [b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)]
    return [b"".join(lengths)]


def _library() -> Any:
    try:
        import redis  # noqa: PLC0415 - the extra `redis`
    except ImportError as error:
        raise ConfigError(
            "redis, the Python client, is wanted and not installed: run "
            "`uv sync --inexact --extra redis`"
        ) from error
    return redis
