"""A `Batch` as bytes and back: what operators that hold rows put into their saved state."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from streams.batch import Batch
from streams.columns import text_lengths
from streams.errors import StateError

T = TypeVar("T")

_ARRAYS = tuple(field.name for field in fields(Batch)[:-1])


def pack(batch: Batch) -> bytes:
    """The rows as bytes; equal rows give equal bytes."""
    arrays = [packed_array(getattr(batch, name)) for name in _ARRAYS]
    return msgspec.msgpack.encode((arrays, [packed_text(texts) for texts in batch.texts]))


def unpack(state: bytes) -> Batch:
    """The batch that `pack` made these bytes of; `StateError` for any other bytes."""
    try:
        arrays, texts = msgspec.msgpack.decode(state)
        columns: Any = dict(zip(_ARRAYS, map(array_of, arrays), strict=True))
        return Batch(**columns, texts=tuple(map(text_of, texts)))
    except (msgspec.MsgspecError, ValueError, TypeError, pa.ArrowException) as error:
        raise StateError(f"saved rows cannot be read back: {error}") from None


def load(state: bytes, kind: type[T]) -> T:
    """What msgspec's msgpack made these bytes of; `StateError` if it was nothing of this kind."""
    try:
        return msgspec.msgpack.decode(state, type=kind)
    except msgspec.DecodeError as error:
        raise StateError(f"saved state cannot be read back: {error}") from None


def packed_array(array: np.ndarray[Any, Any]) -> tuple[str, tuple[int, ...], bytes]:
    """An array as what msgpack can hold."""
    return array.dtype.str, array.shape, array.tobytes()


def array_of(packed: tuple[str, list[int], bytes]) -> np.ndarray[Any, Any]:
    """The array that `packed_array` made this of; it may be written to."""
    kind, shape, content = packed
    return np.frombuffer(bytearray(content), kind).reshape(shape)


def packed_text(texts: pa.Array) -> tuple[object, object]:
    """A column of texts, or of whole numbers, as what msgpack can hold."""
    if pa.types.is_integer(texts.type):
        return None, packed_array(texts.to_numpy(zero_copy_only=False))
    lengths = text_lengths(texts)
    content = b""
    if lengths.sum():
        bounds = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset :]
        content = texts.buffers()[2][int(bounds[0]) : int(bounds[len(texts)])].to_pybytes()
    return content, packed_array(lengths)


def text_of(packed: tuple[bytes | None, tuple[str, list[int], bytes]]) -> pa.Array:
    """The column that `packed_text` made this of."""
    content, numbers = packed[0], array_of(packed[1])
    if content is None:
        return pa.array(numbers)
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(numbers)])
    texts = pa.LargeStringArray.from_buffers(
        len(numbers), pa.py_buffer(bounds), pa.py_buffer(content)
    )
    texts.validate(full=True)
    return texts
