"""JSON lines to typed structs, many lines at a time; a line that does not fit is examined alone.

The fast way is one call of msgspec for all lines into a struct made from the pipeline's event. Only
what it refuses, and what may hold a field twice, is parsed again to say what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Annotated, Any, get_args

import msgspec
import numpy as np
import numpy.typing as npt
import orjson

from streams.batch import EVENT, LABEL
from streams.columns import shown
from streams.errors import Reason
from streams.jit import kernel
from streams.schema import Event

Kinds = npt.NDArray[np.uint8]
Why = tuple[Reason, str]

MIXED = 2
"""Beside EVENT and LABEL: a record is a label when it has the label's field."""
UNREAD = 3
"""The kind of a line that holds no usable record."""
VERSION = "v"
"""The optional JSON key with the version of the event's schema."""

_MOST_KEYS = 64
_REPEATED = 1
_NOT_ONE = 2
_Text = str | Annotated[int, msgspec.Meta(ge=0)]
_Time = str | Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Flag = bool | Annotated[int, msgspec.Meta(ge=0, le=1)]
_WORDS: dict[Any, str] = {
    _Text: "text or a non-negative integer",
    _Time: "RFC 3339 text or integer microseconds",
    _Flag: "true or false",
    float: "a number",
}


class _Refused(Exception):  # noqa: N818 - no error: how `_examine` says why
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.why = (reason, detail)


class JsonLines:
    """Reads the lines of one topic or file; see `streams.codec.Decoder` for the parameters."""

    def __init__(self, event: Event, kind: int, names: Mapping[str, str]) -> None:
        label = event.label.name
        self.carries_label = label in names
        self._event = event
        self._kind = EVENT if self.carries_label else kind
        self._keys = {name: name for name in (*event.fields, label)} | dict(names)
        self._hint = f'"{self._keys[label]}"'.encode()
        self._types = {
            EVENT: _event_types(event, carries_label=self.carries_label),
            LABEL: {event.id: _Text, event.time: _Time, label: _Flag},
        }
        self._structs = {each: self._struct(each) for each in self._types}
        self._json = {each: msgspec.json.Decoder(struct) for each, struct in self._structs.items()}

    def _struct(self, kind: int) -> type[msgspec.Struct]:
        types = self._types[kind]
        fields = [
            (f"f{place}", each, None) if _optional(each) else (f"f{place}", each)
            for place, each in enumerate(types.values())
        ]
        keys = {f"f{place}": self._keys[name] for place, name in enumerate(types)}
        return msgspec.defstruct(
            "Record", [*fields, (VERSION, int | None, None)], rename=keys, gc=False, kw_only=True
        )

    def columns(self, kind: int, records: Sequence[Any]) -> dict[str, list[Any]]:
        """The values of records of one kind by field name; None where an optional one lacks."""
        return {
            name: list(map(attrgetter(f"f{place}"), records))
            for place, name in enumerate(self._types[kind])
        }

    def kinds(self, lines: Sequence[bytes | None]) -> Kinds:
        """What each line should be, EVENT or LABEL, by a glance."""
        if self._kind == MIXED:
            hint = self._hint
            return np.array([LABEL if line and hint in line else EVENT for line in lines], np.uint8)
        return np.full(len(lines), self._kind, np.uint8)

    def read(self, lines: Sequence[bytes]) -> tuple[Kinds, list[Any], dict[int, Why]]:
        """The kind of each line, its record (None if unread) and why the unread ones are."""
        kinds = self.kinds(lines)
        records: list[Any] = [None] * len(lines)
        doubtful: list[int] = []
        for kind in (EVENT, LABEL):
            rows = np.flatnonzero(kinds == kind).tolist()
            if rows and len(rows) == len(lines):
                records, doubtful = self._decode(kind, lines)
            elif rows:
                found, doubts = self._decode(kind, [lines[row] for row in rows])
                for row, record in zip(rows, found, strict=True):
                    records[row] = record
                doubtful += [rows[doubt] for doubt in doubts]
        problems = {}
        for row in doubtful:
            try:
                kinds[row], records[row] = self._examine(lines[row])
            except _Refused as refused:
                kinds[row], records[row], problems[row] = UNREAD, None, refused.why
        return kinds, records, problems

    def _decode(self, kind: int, lines: Sequence[bytes]) -> tuple[list[Any], list[int]]:
        """The records of lines that should be of one kind, and the places of doubtful ones."""
        most = self._event.max_bytes
        doubtful = []
        if max(map(len, lines)) > most:
            doubtful = [row for row, line in enumerate(lines) if len(line) > most]
            lines = [line if len(line) <= most else b"" for line in lines]
        text = b"\n".join([*lines, b"\n"])
        aligned = text.count(b"\n") == len(lines) + 1
        if not aligned:
            text = b"\n".join([*(line.replace(b"\n", b" ") for line in lines), b"\n"])
        flags = np.zeros(len(lines), np.uint8)
        _scan(np.frombuffer(text, np.uint8), flags)
        aligned = aligned and not (flags & _NOT_ONE).any()
        records = self._decode_all(kind, text) if aligned else None
        if records is None:
            records = [_decoded(self._json[kind], line) for line in lines]
        doubtful += np.flatnonzero(flags & _REPEATED).tolist()
        known = {None, self._event.version}
        if None in records or not known.issuperset(map(attrgetter(VERSION), records)):
            doubtful += [
                row for row, each in enumerate(records) if each is None or each.v not in known
            ]
        return records, sorted(set(doubtful))

    def _decode_all(self, kind: int, text: bytes) -> list[Any] | None:
        """The records of lines that hold one object each; None if any is bad."""
        try:
            return self._json[kind].decode_lines(text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None

    def _examine(self, line: bytes) -> tuple[int, msgspec.Struct]:
        """The kind and record of one line, or `_Refused`."""
        fields = self._fields(line)
        version = fields.get(VERSION)
        if version is not None and (isinstance(version, bool) or version != self._event.version):
            raise _Refused(
                Reason.UNKNOWN_VERSION,
                f"{VERSION} must be {self._event.version}; got {shown(version)}",
            )
        kind = self._kind
        if kind == MIXED:
            kind = LABEL if self._keys[self._event.label.name] in fields else EVENT
        try:
            return kind, msgspec.convert(fields, self._structs[kind])
        except msgspec.ValidationError as error:
            for name, each in self._types[kind].items():
                _refuse_value(name, each, fields.get(self._keys[name]))
            raise _Refused(Reason.WRONG_TYPE, str(error)) from None

    def _fields(self, line: bytes) -> dict[str, Any]:
        if len(line) > self._event.max_bytes:
            raise _Refused(
                Reason.TOO_LARGE,
                f"a record has at most {self._event.max_bytes} bytes; got {len(line)}",
            )
        try:
            fields = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if b"NaN" in line or b"Infinity" in line or "infinity" in str(error):
                raise _Refused(Reason.NOT_FINITE, str(error)) from None
            raise _Refused(Reason.NOT_JSON, str(error)) from None
        if not isinstance(fields, dict):
            raise _Refused(Reason.NOT_AN_OBJECT, f"a record is an object; got {shown(fields)}")
        repeated = _repeated_key(line)
        if repeated is not None:
            raise _Refused(Reason.DUPLICATE_FIELD, f"{shown(repeated)} is given twice")
        return fields


def _event_types(event: Event, *, carries_label: bool) -> dict[str, Any]:
    types: dict[str, Any] = {event.id: _Text, event.time: _Time}
    types |= dict.fromkeys(event.keys, _Text)
    types |= {each.name: float if each.required else float | None for each in event.numbers}
    types |= {each.name: _Text if each.required else _Text | None for each in event.categories}
    return types | ({event.label.name: _Flag | None} if carries_label else {})


def _optional(wanted: Any) -> bool:
    return type(None) in get_args(wanted)


def _decoded(decoder: msgspec.json.Decoder[Any], line: bytes) -> Any:
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _refuse_value(name: str, wanted: Any, value: object) -> None:
    if value is None:
        if not _optional(wanted):
            raise _Refused(Reason.MISSING_FIELD, f"{name} is required")
        return
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError:
        words = next(words for each, words in _WORDS.items() if wanted in (each, each | None))
        detail = f"{name} must be {words}; got {shown(value)}"
        integer = isinstance(value, int) and not isinstance(value, bool)
        raise _Refused(Reason.OUT_OF_RANGE if integer else Reason.WRONG_TYPE, detail) from None


def _repeated_key(line: bytes) -> str | None:
    """The first key that the object in this line has twice."""
    keys: list[str] = []

    def outermost(pairs: list[tuple[str, object]]) -> None:
        keys[:] = [key for key, _ in pairs]

    try:
        json.loads(line, object_pairs_hook=outermost)
    except RecursionError:
        raise _Refused(Reason.NOT_JSON, "nested too deeply") from None
    return next((key for place, key in enumerate(keys) if key in keys[:place]), None)


def _plain() -> npt.NDArray[np.uint8]:
    """Per byte: 1 if it means nothing outside a string, plus 2 if it is plain inside one."""
    table = np.full(256, 3, np.uint8)
    table[list(b'",{}[]\n')] &= 2
    table[list(b'"\\\n')] &= 1
    return table


_PLAIN = _plain()


@kernel("void(Array(uint8, 1, 'C', readonly=True), uint8[::1])")
def _scan(text, flags):  # type: ignore[no-untyped-def]
    """Flag lines that may have a key twice or with an escape, and those not of one object.

    The text ends in two newlines, so that the loop over a string needs no other bound.
    """
    hashes = np.empty(_MOST_KEYS, np.uint64)
    one, at, end = np.uint64(1), np.uint64(0), np.uint64(len(text))
    row, depth, keys, opened = 0, 0, 0, 0
    expects_key = False
    while at < end and row < len(flags):
        while _PLAIN[text[at]] & 1:
            at += one
        byte = text[at]
        at += one
        if byte == 34:
            start = at
            escaped = False
            while _PLAIN[text[at]] & 2:
                at += one
            while text[at] == 92:
                escaped = True
                at += one
                at += np.uint64(text[at] != 10)
                while _PLAIN[text[at]] & 2:
                    at += one
            byte = text[at]
            if expects_key and depth == 1:
                expects_key = False
                key = np.uint64(14695981039346656037)
                while start < at:
                    key = (key ^ np.uint64(text[start])) * np.uint64(1099511628211)
                    start += one
                for i in range(keys):
                    escaped = escaped or hashes[i] == key
                if escaped or keys == _MOST_KEYS:
                    flags[row] |= _REPEATED
                else:
                    hashes[keys] = key
                    keys += 1
            at += np.uint64(byte == 34)
        elif byte == 44:
            expects_key = True
        elif byte in (123, 91):
            opened += depth == 0
            depth += 1
            expects_key = True
        elif byte in (125, 93):
            depth -= 1
        elif byte == 10:
            if opened != 1:
                flags[row] |= _NOT_ONE
            row += 1
            depth = 0
            keys = 0
            opened = 0
