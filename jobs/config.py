"""The settings of a deployment: one TOML file, the environment, flags; the later the stronger.

`commit_ms` is a key of `headrace.toml`, the variable HEADRACE_COMMIT_MS and, where a command takes
it, the flag `--commit-ms`. All are read and checked once, by `load`. `docs/configuration.md` lists
what is declared here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_type_hints
from urllib.parse import urlsplit

from jobs.given import in_environment, in_file, in_flags, secret_in, taken, variable
from jobs.setting import (
    BROKERS,
    LOGIN,
    ONLINE,
    PATH,
    PIPELINE,
    PREFIX,
    SECRET,
    SWITCH,
    TEXT,
    Kind,
    Secret,
    decimal,
    one_of,
    whole,
)
from streams.errors import ConfigError

if TYPE_CHECKING:
    from streams.broker import Broker
    from streams.kafka import Security

Order = Literal["arrival", "strict"]
Delivery = Literal["at-least-once", "exactly-once"]
Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """What a command goes by; every value is of its type and in its range.

    >>> Settings.load(flags={"prefix": "shop."}, environ={"HEADRACE_COMMIT_MS": "50"}).commit_ms
    50
    """

    brokers: Annotated[str, BROKERS, "Where Kafka is."] = "127.0.0.1:9092"
    prefix: Annotated[str, PREFIX, "What the names of all topics begin with, such as `shop.`."] = ""
    group: Annotated[str, TEXT, "The consumer group that positions belong to."] = "headrace"
    state: Annotated[
        Path, PATH, "Folder of state, journal and model versions, owned by one process."
    ] = Path(".headrace/state")
    pipeline: Annotated[str, PIPELINE, "A pipeline file, or the name of a shipped one."] = "fraud"
    order: Annotated[
        Order,
        one_of("arrival", "strict"),
        "`strict` holds events back by the pipeline's lateness and sorts them.",
    ] = "arrival"
    delivery: Annotated[
        Delivery,
        one_of("at-least-once", "exactly-once"),
        "`exactly-once` makes predictions and positions one Kafka transaction. On a cluster of one "
        "broker a kill of that broker may leave a transaction open for good (Apache Kafka 4.3); "
        "the job then says so.",
    ] = "at-least-once"
    commit_ms: Annotated[
        int,
        whole(1, 60_000),
        "Milliseconds between commits; with `exactly-once` predictions wait for them.",
    ] = 100
    linger_ms: Annotated[
        float,
        decimal(0, 1000),
        "Milliseconds that a prediction waits for others to be sent with it, from when its event "
        "was taken; `0` is the fastest, and costs the broker most.",
    ] = 1.0
    snapshot_seconds: Annotated[
        float, decimal(0.1, 86_400), "Seconds between snapshots of the state."
    ] = 10.0
    fsync: Annotated[
        bool, SWITCH, "Sync the journal to disk before output leaves: survives the machine's death."
    ] = False
    metrics_port: Annotated[
        int, whole(0, 65_535), "Port of /metrics, /healthz and /readyz; 0 is none."
    ] = 0
    metrics_host: Annotated[
        str, TEXT, "Address that port is opened on; `0.0.0.0` is every one of this machine."
    ] = "127.0.0.1"
    online: Annotated[
        str, ONLINE, "Redis or Valkey to keep the latest features of each key in; empty is none."
    ] = ""
    kafka_tls: Annotated[
        bool, SWITCH, "Speak TLS to the brokers; implied where one of the next three is set."
    ] = False
    kafka_ca: Annotated[
        Path | None, PATH, "PEM file of the authorities to trust, in place of the system's."
    ] = None
    kafka_cert: Annotated[Path | None, PATH, "PEM file of our certificate."] = None
    kafka_key: Annotated[Path | None, PATH, "PEM file of the key of that certificate."] = None
    kafka_user: Annotated[str, LOGIN, "Whom to log in as, by SASL; empty is no login."] = ""
    kafka_mechanism: Annotated[
        Mechanism, one_of("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"), "How to log in."
    ] = "SCRAM-SHA-512"
    kafka_password: Annotated[Secret | None, SECRET, "That user's password."] = None
    kafka_password_file: Annotated[Path | None, PATH, "File that holds the password."] = None
    signing_key: Annotated[
        Secret | None, SECRET, "Signs model versions; with it only such versions are taken."
    ] = None
    signing_key_file: Annotated[Path | None, PATH, "File that holds the signing key."] = None

    @classmethod
    def load(
        cls,
        config: Path | None = None,
        flags: Mapping[str, str | None] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """Read and check everything once.

        `config` must exist; without it HEADRACE_CONFIG or a `headrace.toml` here is read, if there
        is one. `flags` are by the setting's name, None where not given; `environ` is that of the
        process unless given. Raises ConfigError naming the file, variable or flag at fault.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        sources = (in_file(config, environ, KINDS), in_environment(environ, KINDS))
        for source in (*sources, in_flags(flags or {})):
            values |= {given.key: taken(given, KINDS[given.key]) for given in source}
        for key in ("kafka_password", "signing_key"):
            if f"{key}_file" in values and key not in values:
                values[key] = secret_in(values[f"{key}_file"], f"{key}_file")
        settings = cls(**values)
        settings._check()
        return settings

    def topic(self, name: str) -> str:
        """A topic's name in this deployment.

        >>> Settings(prefix="shop.").topic("labels")
        'shop.labels'
        """
        return self.prefix + name

    @property
    def key(self) -> bytes | None:
        """What signs versions and decisions, if anything does."""
        return self.signing_key.reveal().encode() if self.signing_key else None

    def environment(self) -> dict[str, str]:
        """The environment of a process beside this one that is to have these settings, secrets too.

        No file and no variable that this process was given says otherwise there.

        >>> Settings(prefix="shop.").environment()["HEADRACE_PREFIX"]
        'shop.'
        """
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        others = set(os.environ) - {variable(name) for name in found}
        return (
            {name: os.environ[name] for name in others}
            | {variable("config"): os.devnull}
            | {
                variable(name): value.reveal() if isinstance(value, Secret) else _word(value)
                for name, value in found.items()
                if value not in (None, "") and not name.endswith("_file")
            }
        )

    def security(self) -> Security:
        """How the brokers are spoken to."""
        from streams.kafka import Security  # noqa: PLC0415 - an optional extra

        return Security(
            tls=self.kafka_tls,
            ca=self.kafka_ca,
            certificate=self.kafka_cert,
            key=self.kafka_key,
            user=self.kafka_user,
            mechanism=self.kafka_mechanism,
            password=self.kafka_password.reveal() if self.kafka_password else "",
        )

    def broker(self) -> Broker:
        """The cluster; nothing is asked of it yet. ConfigError where no client is installed."""
        from streams.kafka import Kafka  # noqa: PLC0415 - an optional extra

        return Kafka(self.brokers, self.security(), linger_ms=self.linger_ms)

    def _check(self) -> None:
        """Refuse what does not go together, and files that are not there."""
        _both("kafka_cert", self.kafka_cert, "kafka_key", self.kafka_key)
        either = f"kafka_password_file or {variable('kafka_password')}"
        _both("kafka_user", self.kafka_user, either, self.kafka_password)
        for key in ("kafka_ca", "kafka_cert", "kafka_key"):
            path: Path | None = getattr(self, key)
            if path is not None and not path.is_file():
                raise ConfigError(f"{key}: wanted a PEM file, got {path}, where none is")

    def __repr__(self) -> str:
        shown = (f"{each.name}={_shown(getattr(self, each.name))}" for each in fields(self))
        return f"Settings({', '.join(shown)})"


_DECLARED = {
    name: hint.__metadata__ for name, hint in get_type_hints(Settings, include_extras=True).items()
}
KINDS: Mapping[str, Kind] = MappingProxyType({name: each[0] for name, each in _DECLARED.items()})
DOCS: Mapping[str, str] = MappingProxyType({name: each[1] for name, each in _DECLARED.items()})
"""What each setting may be, and what it is for."""


def _both(one: str, first: object, other: str, second: object) -> None:
    """Refuse one without the other."""
    if bool(first) != bool(second):
        there, lacks = (one, other) if first else (other, one)
        raise ConfigError(f"{there} is set, so wanted {lacks} too, got none; set both or neither")


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(value: object) -> str:
    """The value, without the password that a URL may hold."""
    if isinstance(value, str) and "://" in value and (password := urlsplit(value).password):
        return repr(value.replace(f":{password}@", ":***@"))
    return repr(value)
