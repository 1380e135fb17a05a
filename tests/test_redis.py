"""A connection to a real Valkey: addresses, logins, TLS, the guarded script, and failures."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobs.online.layout import WRITE_NEWER
from jobs.stack.redis import Redis
from streams.errors import ConfigError, OutputError
from streams.redis import Address, Connection
from tests.kafka_server import unique

redis = pytest.importorskip("redis")


@contextmanager
def connected(url: str, patience_seconds: float = 10.0) -> Iterator[Connection]:
    with closing(Connection(Address.parse(url), OutputError, patience_seconds)) as connection:
        yield connection


def line(time_us: int, tie: int = 0, rest: str = "") -> bytes:
    return b'{"time":%d,"tie":"%019d","layout":1,"rest":"%b"}' % (time_us, tie, rest.encode())


def write(connection: Connection, keys: list[str], *lines: bytes, keep_ms: int = 60_000) -> Any:
    names = [key.encode() for key in keys]
    return connection.call(WRITE_NEWER, names, [b"%d" % keep_ms, *lines])


def get(connection: Connection, key: str) -> Any:
    return connection.ask([b"GET", key.encode()])


def test_nothing_older_overwrites(redis_server: Redis) -> None:
    key = unique("guard")
    with connected(redis_server.address) as connection:
        assert write(connection, [key], line(1_719_835_200_000_000, 7)) == 1
        assert write(connection, [key], line(1_719_835_199_999_999, 8)) == 0
        assert write(connection, [key], line(1_719_835_200_000_000, 6)) == 0
        assert get(connection, key) == line(1_719_835_200_000_000, 7)


def test_what_is_newer_or_the_same_again_is_written(redis_server: Redis) -> None:
    key = unique("guard")
    with connected(redis_server.address) as connection:
        for newer in (line(9, 7), line(9, 7, "resent"), line(9, 8), line(10, 1), line(100_000, 0)):
            assert write(connection, [key], newer) == 1
            assert get(connection, key) == newer


def test_times_and_ties_are_compared_to_their_last_digit(redis_server: Redis) -> None:
    key, last, tie = unique("guard"), 7_258_118_399_999_999, 2**63 - 1
    with connected(redis_server.address) as connection:
        write(connection, [key], line(last, tie))
        assert write(connection, [key], line(last - 1, tie)) == 0
        assert write(connection, [key], line(last, tie - 1)) == 0
        assert write(connection, [key], line(last + 1, 0)) == 1


def test_each_of_many_keys_is_judged_for_itself(redis_server: Redis) -> None:
    keys = [unique("many") for _ in range(500)]
    with connected(redis_server.address) as connection:
        assert write(connection, keys[::2], *[line(20)] * 250) == 250
        assert write(connection, keys, *[line(10)] * 500) == 250
        assert [get(connection, key) for key in keys[:4]] == [line(20), line(10)] * 2


def test_a_line_is_forgotten_after_its_time_unless_written_again(redis_server: Redis) -> None:
    key = unique("ttl")
    with connected(redis_server.address) as connection:
        write(connection, [key], line(1), keep_ms=7_776_000_000)
        assert 7_775_990_000 < connection.ask([b"PTTL", key.encode()]) <= 7_776_000_000
        write(connection, [key], line(2), keep_ms=30)
        wait_until(lambda: get(connection, key) is None)


def test_what_is_no_line_is_replaced(redis_server: Redis) -> None:
    text, table = unique("foreign"), unique("foreign")
    with connected(redis_server.address) as connection:
        connection.ask([b"SET", text.encode(), b"not ours"])
        connection.ask([b"HSET", table.encode(), b"a", b"b"])
        assert write(connection, [text, table], line(1), line(1)) == 2
        assert get(connection, table) == line(1)


def test_a_server_that_has_lost_its_scripts_is_given_them_again(own_redis: Redis) -> None:
    with connected(own_redis.address) as connection:
        write(connection, ["a"], line(1))
        connection.ask([b"SCRIPT", b"FLUSH"])
        assert write(connection, ["a"], line(2)) == 1


def test_a_connection_is_made_anew_after_the_server_was_killed(own_redis: Redis) -> None:
    with connected(own_redis.address) as connection:
        write(connection, ["a"], line(1))
        own_redis.kill()
        with pytest.raises(OutputError, match=r"127\.0\.0\.1:\d+/0: cannot be reached"):
            write(connection, ["a"], line(2))
        own_redis.start()
        assert write(connection, ["a"], line(3)) == 1


def test_other_work_goes_on_while_an_answer_is_waited_for(own_redis: Redis) -> None:
    ticks: list[float] = []
    with connected(own_redis.address, patience_seconds=0.3) as connection:
        connection.ask([b"PING"])
        own_redis.pause()
        with pytest.raises(OutputError, match="no answer in time"):
            connection.ask([b"PING"], idle=lambda: ticks.append(time.monotonic()))
        own_redis.resume()
        assert len(ticks) > 5
        assert connection.ask([b"ECHO", b"own"]) == b"own"


def test_user_and_password_come_from_the_url_or_a_file(own_redis: Redis, tmp_path: Path) -> None:
    with connected(own_redis.address) as connection:
        rights = [b"on", b">p%40ss", b"~*", b"+@all"]
        connection.ask([b"ACL", b"SETUSER", b"ann", *rights])
        connection.ask([b"CONFIG", b"SET", b"requirepass", b"other"])
    secret = tmp_path / "secret"
    secret.write_text("p%40ss\n", encoding="utf-8")
    port = own_redis.settings.port
    for url in (
        f"redis://ann:p%2540ss@127.0.0.1:{port}",
        f"redis://ann@127.0.0.1:{port}?password_file={secret}",
        f"redis://:other@127.0.0.1:{port}/3",
    ):
        with connected(url) as connection:
            assert connection.ask([b"PING"]) == b"PONG"
    refused = {"redis://ann:wrong@": "the login was refused", "redis://": "wants a login"}
    for login, said in refused.items():
        with connected(f"{login}127.0.0.1:{port}") as connection:
            with pytest.raises(OutputError, match=said) as caught:
                connection.ask([b"PING"])
            assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://cache", "another scheme"),
        ("cache:6379", "another scheme"),
        ("redis://", "no host"),
        ("redis://:hunter/2@cache", "a password's"),
        ("redis://cache/hunter2", "a database that is no number"),
        ("redis://cache?password=hunter2", "no option 'password'"),
        ("redis://cache?password_file=/nowhere", "password_file wanted a file, got /nowhere"),
        ("rediss://cache?ca=/nowhere", "ca wanted a file"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_without_its_secrets(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Address.parse(url)
    assert "hunter" not in str(caught.value)


def test_an_address_never_shows_its_password() -> None:
    for url in ("redis://ann:hunter2@cache:1/2", "redis://:hunter2@[::1]", "unix:///run/r?db=3"):
        address = Address.parse(url)
        assert "hunter2" not in f"{address} {address!r}"
    assert str(Address.parse("redis://:hunter2@[::1]")) == "redis://[::1]:6379/0"
    assert Address.parse("unix:///run/r?db=3").database == 3


def test_tls_trusts_the_authority_it_is_given_and_no_other(
    redis_server: Redis, tmp_path: Path
) -> None:
    with tls_before(redis_server.settings.port, tmp_path) as (port, certificate):
        with connected(f"rediss://localhost:{port}?ca={certificate}") as connection:
            assert connection.ask([b"PING"]) == b"PONG"
        for host, said in {"localhost": "self.signed", "127.0.0.1": "IP address mismatch"}.items():
            ca = f"?ca={certificate}" if host != "localhost" else ""
            with (
                connected(f"rediss://{host}:{port}{ca}") as connection,
                pytest.raises(OutputError, match=said),
            ):
                connection.ask([b"PING"])


def wait_until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def tls_before(port: int, folder: Path) -> Iterator[tuple[int, Path]]:
    """Serve TLS, with a certificate signed by itself, before a server that is built without."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *options, *names, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, args=(listening, context, port), daemon=True).start()
        yield listening.getsockname()[1], certificate


def accept(listening: socket.socket, context: ssl.SSLContext, port: int) -> None:
    """Serve one connection after the other until the listening socket is closed."""
    while True:
        try:
            plain, _ = listening.accept()
        except OSError:
            return
        try:
            with (
                context.wrap_socket(plain, server_side=True) as client,
                socket.create_connection(("127.0.0.1", port)) as server,
            ):
                while asked := client.recv(65_536):
                    server.sendall(asked)
                    client.sendall(server.recv(65_536))
        except OSError:
            plain.close()
