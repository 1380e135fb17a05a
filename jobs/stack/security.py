"""TLS and SASL/SCRAM for the local broker: a certificate of its own, users made with its folder."""

from __future__ import annotations

import re
import secrets
import subprocess
from pathlib import Path

import msgspec

from jobs.stack.java import environment, java_home
from jobs.stack.ports import HOST
from streams.errors import ConfigError, ServiceError

MECHANISM = "SCRAM-SHA-512"
BROKER = "broker"
"""The user by which the broker speaks to itself."""
SAFE = re.compile(r"[A-Za-z0-9._~-]+")
"""What needs no quoting in Kafka's options, properties and login modules."""


class Security(msgspec.Struct, frozen=True):
    """The users, name to password, of a broker that takes only SASL/SCRAM over TLS.

    They exist from the moment the broker's folder is formatted; each may do everything.
    """

    users: dict[str, str]

    def __post_init__(self) -> None:
        for text in (*self.users, *self.users.values()):
            if not SAFE.fullmatch(text):
                raise ConfigError(
                    "users of the local broker: wanted names and passwords of letters, digits "
                    "and ._~-, got one with another character; choose another"
                )


class Certificate:
    """A certificate for 127.0.0.1 and localhost in a folder: the server's keys, the client's CA."""

    def __init__(self, folder: Path) -> None:
        self.keys = folder / "server.p12"
        self.ca = folder / "ca.pem"
        """What a client must trust, as PEM."""
        self._password = folder / "server.password"

    @property
    def password(self) -> str:
        """The password of `keys`."""
        return self._password.read_text(encoding="ascii")

    def make(self) -> None:
        """Make what is absent: an RSA key, signed by itself, valid for ten years."""
        if self.ca.exists():
            return
        self.keys.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.keys.unlink(missing_ok=True)
        self._password.write_text(secrets.token_urlsafe(24), encoding="ascii")
        _keytool("-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-validity", "3650",
                 "-dname", "CN=localhost", "-ext", f"SAN=ip:{HOST},dns:localhost",
                 *self._store())  # fmt: skip
        pem = _keytool("-exportcert", "-rfc", *self._store())
        partial = self.ca.with_suffix(".tmp")
        partial.write_text(pem, encoding="ascii")
        partial.replace(self.ca)

    def _store(self) -> tuple[str, ...]:
        password = ("-storepass:file", str(self._password))
        return ("-alias", "broker", "-storetype", "PKCS12", "-keystore", str(self.keys), *password)


def properties(certificate: Certificate, password: str) -> dict[str, str]:
    """The broker's settings for a listener named SECURE; `password` is that of user BROKER."""
    login = "org.apache.kafka.common.security.scram.ScramLoginModule"
    name = f"listener.name.secure.{MECHANISM.lower()}.sasl.jaas.config"
    return {
        "sasl.enabled.mechanisms": MECHANISM,
        "sasl.mechanism.inter.broker.protocol": MECHANISM,
        name: f'{login} required username="{BROKER}" password="{password}";',
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": str(certificate.keys),
        "ssl.keystore.password": certificate.password,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificate.ca),
    }


def client(user: str, password: str, ca: Path) -> dict[str, str]:
    """The settings by which a librdkafka client speaks to a broker with security."""
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": MECHANISM,
        "sasl.username": user,
        "sasl.password": password,
        "ssl.ca.location": str(ca),
    }


def _keytool(*arguments: str) -> str:
    command = [str(java_home() / "bin" / "keytool"), *arguments]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        said = done.stdout.strip() or done.stderr.strip()
        raise ServiceError(f"keytool {arguments[0]}: wanted a certificate, got: {said}")
    return done.stdout
