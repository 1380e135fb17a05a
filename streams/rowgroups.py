"""Parquet files of one schema put end to end without decoding a value.

The bytes of the row groups are copied as they are. Only the footers, Thrift structs in the compact
protocol, are read, their offsets moved, and one is written for all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

_MAGIC = b"PAR1"
_AT_ONCE = 1 << 20

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _, _, _STRUCT = range(1, 13)
"""Types of the compact protocol that a footer has; a set or a map it has not."""

_FILE_ROWS, _FILE_GROUPS, _FILE_PAIRS = 3, 4, 5
_GROUP_CHUNKS, _GROUP_OFFSET, _GROUP_ORDINAL = 1, 5, 7
_CHUNK_COLUMN = 3
_CHUNK_OFFSETS = (2, 4, 6)
_COLUMN_OFFSETS = (9, 10, 11, 14)
"""Fields of FileMetaData, RowGroup, ColumnChunk and ColumnMetaData in parquet.thrift."""

Struct = dict[int, tuple[int, Any]]
"""Fields by number: type and value. A list's value is its elements' type and the elements."""


def join(parts: Sequence[Path], into: BinaryIO, pairs: dict[bytes, bytes]) -> None:
    """Write the rows of all parts, in order, as one file, with these key-value pairs set.

    The parts are whole, of one schema and not encrypted; the file ends where its footer does.
    """
    whole: Struct = {}
    rows, groups = 0, []
    into.write(_MAGIC)
    for part in parts:
        with part.open("rb") as file:
            footer, end = _footer(file)
            _move(footer, into.tell() - len(_MAGIC))
            whole = whole or footer
            rows += footer[_FILE_ROWS][1]
            groups += footer[_FILE_GROUPS][1][1]
            into.writelines(_blocks(file, len(_MAGIC), end))
    whole |= {_FILE_ROWS: (_I64, rows), _FILE_GROUPS: (_LIST, (_STRUCT, groups))}
    kept = [pair for pair in whole[_FILE_PAIRS][1][1] if pair[1][1] not in pairs]
    kept += [{1: (_BINARY, key), 2: (_BINARY, value)} for key, value in pairs.items()]
    whole[_FILE_PAIRS] = (_LIST, (_STRUCT, kept))
    out = bytearray()
    _write(out, _STRUCT, whole)
    into.write(out + struct.pack("<I", len(out)) + _MAGIC)


def _footer(file: BinaryIO) -> tuple[Struct, int]:
    """The footer, and where it starts."""
    end = file.seek(-8, 2)
    start = end - struct.unpack("<I", file.read(4))[0]
    file.seek(start)
    footer, _ = _read(file.read(end - start), 0, _STRUCT)
    return footer, start


def _move(footer: Struct, by: int) -> None:
    """Say of everything that it lies so many bytes further on."""
    for group in footer[_FILE_GROUPS][1][1]:
        group.pop(_GROUP_ORDINAL, None)  # 16 bits, and optional
        _add(group, (_GROUP_OFFSET,), by)
        for chunk in group[_GROUP_CHUNKS][1][1]:
            _add(chunk, _CHUNK_OFFSETS, by)
            _add(chunk[_CHUNK_COLUMN][1], _COLUMN_OFFSETS, by)


def _add(fields: Struct, numbers: Sequence[int], by: int) -> None:
    for number in numbers:
        kind, value = fields.get(number, (0, 0))
        if value:
            fields[number] = (kind, value + by)


def _blocks(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    file.seek(start)
    for at in range(start, end, _AT_ONCE):
        yield file.read(min(_AT_ONCE, end - at))


def _read(held: bytes, at: int, kind: int) -> tuple[Any, int]:
    """A value, and the place after it."""
    if kind in {_I16, _I32, _I64}:
        number, at = _varint(held, at)
        return (number >> 1) ^ -(number & 1), at
    if kind == _BINARY:
        size, at = _varint(held, at)
        return held[at : at + size], at + size
    if kind == _STRUCT:
        return _read_struct(held, at)
    if kind == _LIST:
        head, at = held[at], at + 1
        size, element = head >> 4, head & 15
        if size == 15:
            size, at = _varint(held, at)
        values = []
        for _ in range(size):
            value, at = _read(held, at, element)
            values.append(value)
        return (element, values), at
    width = 8 if kind == _DOUBLE else 1
    return held[at : at + width], at + width


def _read_struct(held: bytes, at: int) -> tuple[Struct, int]:
    fields: Struct = {}
    number = 0
    while head := held[at]:
        at += 1
        kind = head & 15
        if head >> 4:
            number += head >> 4
        else:
            number, at = _read(held, at, _I16)
        if kind in {_TRUE, _FALSE}:
            fields[number] = kind, None
        else:
            value, at = _read(held, at, kind)
            fields[number] = kind, value
    return fields, at + 1


def _varint(held: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = held[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7


def _write(out: bytearray, kind: int, value: Any) -> None:
    if kind in {_I16, _I32, _I64}:
        _write_varint(out, value << 1 if value >= 0 else (~value << 1) | 1)
    elif kind == _BINARY:
        _write_varint(out, len(value))
        out += value
    elif kind == _STRUCT:
        last = 0
        for number, (type_, content) in sorted(value.items()):
            if number - last < 16:
                out.append((number - last) << 4 | type_)
            else:
                out.append(type_)
                _write(out, _I16, number)
            last = number
            if type_ not in {_TRUE, _FALSE}:
                _write(out, type_, content)
        out.append(0)
    elif kind == _LIST:
        element, values = value
        if len(values) < 15:
            out.append(len(values) << 4 | element)
        else:
            out.append(15 << 4 | element)
            _write_varint(out, len(values))
        for each in values:
            _write(out, element, each)
    else:
        out += value


def _write_varint(out: bytearray, number: int) -> None:
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
