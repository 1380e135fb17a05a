"""Kafka's errors as ours: one table, by what can be done about them.

`translated` never carries a secret: librdkafka's own texts name addresses, topics and users only.
"""

from __future__ import annotations

import re
from typing import Any

from streams.errors import ConfigError, HeadraceError, InputError, OutputError, StateError
from streams.kafka.library import Error

_LOGIN = "check user, password and mechanism"
_CERTIFICATE = "check the certificate authority and our own certificate"
_ADDRESS = "check the address and that the broker is up"
_TOPIC = "make it with `headrace topics create`, or name another prefix"
_RIGHTS = "have the user given the right to it"
_TAKEN = "another instance has taken over; stop one of the two"
_SIZE = "let the topic take larger records (max.message.bytes)"
_PAST = (
    "the topic was made anew or has forgotten that part; "
    "begin with a new state folder and a new group"
)

_TABLE: dict[int, tuple[type[HeadraceError], str]] = {
    Error._AUTHENTICATION: (ConfigError, _LOGIN),
    Error.SASL_AUTHENTICATION_FAILED: (ConfigError, _LOGIN),
    Error.UNSUPPORTED_SASL_MECHANISM: (ConfigError, _LOGIN),
    Error._SSL: (ConfigError, _CERTIFICATE),
    Error._RESOLVE: (InputError, _ADDRESS),
    Error._TRANSPORT: (InputError, _ADDRESS),
    Error._ALL_BROKERS_DOWN: (InputError, _ADDRESS),
    Error._TIMED_OUT: (InputError, _ADDRESS),
    Error.UNKNOWN_TOPIC_OR_PART: (InputError, _TOPIC),
    Error.UNKNOWN_TOPIC_ID: (InputError, _TOPIC),
    Error._UNKNOWN_TOPIC: (InputError, _TOPIC),
    Error._UNKNOWN_PARTITION: (InputError, _TOPIC),
    Error.OFFSET_OUT_OF_RANGE: (InputError, _PAST),
    Error._AUTO_OFFSET_RESET: (InputError, _PAST),
    Error.TOPIC_AUTHORIZATION_FAILED: (ConfigError, _RIGHTS),
    Error.GROUP_AUTHORIZATION_FAILED: (ConfigError, _RIGHTS),
    Error.CLUSTER_AUTHORIZATION_FAILED: (ConfigError, _RIGHTS),
    Error.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: (ConfigError, _RIGHTS),
    Error._FENCED: (StateError, _TAKEN),
    Error.FENCED_INSTANCE_ID: (StateError, _TAKEN),
    Error.PRODUCER_FENCED: (StateError, _TAKEN),
    Error.INVALID_PRODUCER_EPOCH: (StateError, _TAKEN),
    Error.UNKNOWN_MEMBER_ID: (StateError, _TAKEN),
    Error.ILLEGAL_GENERATION: (StateError, _TAKEN),
    Error.MSG_SIZE_TOO_LARGE: (OutputError, _SIZE),
    Error.RECORD_LIST_TOO_LARGE: (OutputError, _SIZE),
}

DECISIVE = frozenset({Error._AUTHENTICATION, Error._SSL, Error.SASL_AUTHENTICATION_FAILED})
"""Of the errors of a connection, those that waiting does not cure."""
_HOW_LONG = re.compile(r" \(after \d+ms in state .*\)$")
"""Of librdkafka's texts, what says nothing to the reader."""

GONE = frozenset(
    {
        Error.UNKNOWN_TOPIC_OR_PART,
        Error.UNKNOWN_TOPIC_ID,
        Error._UNKNOWN_TOPIC,
        Error._UNKNOWN_PARTITION,
    }
)
"""What is said of a topic that does not exist."""
DISPLACED = frozenset({Error._FATAL, Error._FENCED, Error.FENCED_INSTANCE_ID})
"""What a member of a group is told whose place another took."""
LEADERLESS = frozenset({Error.NOT_LEADER_FOR_PARTITION, Error.LEADER_NOT_AVAILABLE})
"""What a partition answers until it has a leader."""
HOPELESS = GONE | {
    Error._AUTO_OFFSET_RESET,
    Error.OFFSET_OUT_OF_RANGE,
    Error.TOPIC_AUTHORIZATION_FAILED,
    Error.GROUP_AUTHORIZATION_FAILED,
}
"""Of the errors of reading, those that librdkafka does not recover from by itself."""


def translated(error: Any, what: str, otherwise: type[HeadraceError] = InputError) -> HeadraceError:
    """Our error of a KafkaError; `what` says where and what was wanted."""
    kind, advice = _TABLE.get(error.code(), (otherwise, "see what the broker's log says"))
    return kind(f"{what}, got: {said_of(error)}; {advice}")


def said_of(error: Any) -> str:
    """What librdkafka says of a KafkaError."""
    return _HOW_LONG.sub("", error.str())
