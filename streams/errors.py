"""What can go wrong, one class per thing a caller can do about it.

    HeadraceError
    ├── ConfigError   the pipeline or an option is wrong: change it
    ├── InputError    a file or topic cannot be read at all: the message names it and what to do
    ├── StateError    saved state is old, foreign, damaged or another's: migrate or start anew
    ├── OutputError   results cannot be written (disk full, no permission): make room, run again
    └── ServiceError  a local service does not start, answer or end: its log says why

A single record that cannot be read is none of these: it becomes a `DeadLetter` and the stream goes
on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class HeadraceError(Exception):
    """The base of every error Headrace raises on purpose; its text is fit to be shown as it is."""


class ConfigError(HeadraceError):
    """A pipeline, schema or option that cannot work."""


class InputError(HeadraceError):
    """An input that cannot be read: its path or topic, what was wanted, what was found."""


class StateError(HeadraceError):
    """Saved state that this run may not use: another format, definition, owner, or damaged."""


class OutputError(HeadraceError):
    """A result that cannot be written; what was committed before it is still good."""


class ServiceError(HeadraceError):
    """A local service that does not start, answer or end; the end of its log."""


class Reason(StrEnum):
    """Why a record is a dead letter: the closed list."""

    NOT_JSON = "not JSON"
    NOT_AN_OBJECT = "not an object"
    NOT_A_ROW = "not a row"
    TOO_LARGE = "too large"
    DUPLICATE_FIELD = "duplicate field"
    UNKNOWN_VERSION = "unknown schema version"
    MISSING_FIELD = "missing field"
    WRONG_TYPE = "wrong type"
    BAD_TEXT = "bad text"
    BAD_TIME = "bad time"
    TIME_TOO_EARLY = "time too early"
    TIME_TOO_LATE = "time too late"
    TIME_AHEAD = "time too far ahead"
    NOT_FINITE = "not finite"
    OUT_OF_RANGE = "out of range"
    WRONG_SCALE = "wrong scale"
    CONFLICTING_ID = "conflicting id"
    CONFLICTING_LABEL = "conflicting label"
    BAD_VERSION = "bad model version"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that cannot be used: why, where it was, and its bytes."""

    reason: Reason
    detail: str
    """The field, what was wanted, what came."""
    topic: str
    """The topic or path it came from."""
    partition: int
    offset: int
    """Its place there: a topic's offset, a text file's line from 1, a Parquet file's row from 0."""
    time_us: int
    """When the source took it, in microseconds UTC."""
    raw: bytes
    """The record as it came; of one that is too large, the beginning."""
