"""As much of Protocol Buffers' wire format as it takes to write an ONNX file.

A message is its fields one after another, each a number and a value; a message within one is its
bytes.
"""

from __future__ import annotations


def field(number: int, value: int | str | bytes) -> bytes:
    """A field of a message: a whole number of at least 0, a text, or the bytes of a message.

    >>> field(1, 300).hex(), field(2, "a").hex()
    ('08ac02', '120161')
    """
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first, the eighth set in all but the last."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
