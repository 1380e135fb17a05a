"""How to speak to a broker that wants TLS, a login, or both."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from streams.errors import ConfigError

_MODULES = {"SCRAM": "scram.ScramLoginModule", "PLAIN": "plain.PlainLoginModule"}


@dataclass(frozen=True, slots=True)
class Security:
    """TLS and SASL, by plain settings. The password shows in no repr and no log.

    >>> Security(user="anna", password="secret")
    Security(tls=False, ca=None, certificate=None, key=None, user='anna', mechanism='SCRAM-SHA-512')
    """

    tls: bool = False
    """Speak TLS; implied by any of the three files."""
    ca: Path | None = None
    """PEM file of the authorities to trust, in place of the system's."""
    certificate: Path | None = None
    """PEM file of our own certificate, for brokers that ask for one."""
    key: Path | None = None
    """PEM file of its private key."""
    user: str = ""
    """Whom to log in as by SASL; empty is no login."""
    mechanism: str = "SCRAM-SHA-512"
    """SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN."""
    password: str = field(default="", repr=False)

    @property
    def protocol(self) -> str:
        """The name that Kafka has for it.

        >>> Security(tls=True, user="anna").protocol
        'SASL_SSL'
        """
        tls = self.tls or any((self.ca, self.certificate, self.key))
        return ("SASL_" if self.user else "") + ("SSL" if tls else "PLAINTEXT")

    def librdkafka(self) -> dict[str, str]:
        """The settings of a librdkafka client. ConfigError for a file that is not there."""
        files = self._files("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")
        login = {
            "sasl.mechanism": self.mechanism,
            "sasl.username": self.user,
            "sasl.password": self.password,
        }
        return {"security.protocol": self.protocol, **files, **(login if self.user else {})}

    def kafka_python(self) -> dict[str, str]:
        """The arguments of a kafka-python client. ConfigError for a file that is not there."""
        files = self._files("ssl_cafile", "ssl_certfile", "ssl_keyfile")
        login = {
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.user,
            "sasl_plain_password": self.password,
        }
        return {"security_protocol": self.protocol, **files, **(login if self.user else {})}

    def java(self, package: str = "org.apache.kafka") -> dict[str, str]:
        r"""The settings of a Java client; `package` is where its classes lie, if they were moved.

        ConfigError for a file that is not there.

        >>> print(Security(user="anna", password='a"b').java()["sasl.jaas.config"].split(" ", 1)[1])
        required username="anna" password="a\"b";
        """
        files = self._files("ssl.truststore.location", "certificate", "key")
        settings = {"security.protocol": self.protocol}
        if self.ca:
            settings |= {
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": files["ssl.truststore.location"],
            }
        if self.certificate and self.key:
            settings |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.certificate.chain": self.certificate.read_text(encoding="ascii"),
                "ssl.keystore.key": self.key.read_text(encoding="ascii"),
            }
        if self.user:
            module = _MODULES[self.mechanism.partition("-")[0]]
            settings |= {
                "sasl.mechanism": self.mechanism,
                "sasl.jaas.config": f"{package}.common.security.{module} required "
                f"username={_quoted(self.user)} password={_quoted(self.password)};",
            }
        return settings

    def _files(self, *names: str) -> dict[str, str]:
        paths = zip(names, (self.ca, self.certificate, self.key), strict=True)
        given = {name: path for name, path in paths if path is not None}
        for path in given.values():
            if not path.is_file():
                raise ConfigError(
                    f"{path}: wanted a PEM file for TLS, found no file; name one that is there"
                )
        return {name: str(path) for name, path in given.items()}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
