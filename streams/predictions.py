"""Predictions read back, and the examples they become."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import orjson

from streams.errors import InputError
from streams.records import Prediction

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_decoder = msgspec.json.Decoder(Prediction)


def decode_predictions(
    lines: Sequence[bytes | None], features: int, where: str
) -> tuple[list[Prediction], Floats]:
    """The records, and their features as (n, features), NaN where missing.

    Raises InputError for what `streams.codec.encode_predictions` never wrote: nobody else writes to
    this topic.
    """
    try:
        records = [_decoder.decode(line or b"") for line in lines]
    except msgspec.MsgspecError as error:
        raise InputError(
            f"{where}: wanted predictions, got a record that is none ({error}); only the score job "
            "may write there"
        ) from error
    rows = [record.features for record in records]
    if any(len(row) != features for row in rows):
        raise InputError(
            f"{where}: wanted predictions of {features} features, got others; run the learner with "
            "the score job's pipeline file"
        )
    return records, np.array(rows, np.float64).reshape(len(rows), features)


def encode_examples(
    number: Int64s,
    time: Int64s,
    known: Sequence[int],
    value: Sequence[int],
    cause: Sequence[str],
    score: Floats,
    model_version: Int64s,
    features: Floats,
) -> list[bytes]:
    """One JSON line per example, in the field order of `streams.records.Example`."""
    columns = zip(
        number.tolist(),
        time.tolist(),
        known,
        value,
        cause,
        score.tolist(),
        model_version.tolist(),
        np.ascontiguousarray(features),
        strict=True,
    )
    names = ("number", "time", "known", "value", "cause", "score", "model_version", "features")
    return [
        orjson.dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_SERIALIZE_NUMPY)
        for row in columns
    ]
