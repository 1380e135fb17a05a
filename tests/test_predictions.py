"""Predictions as lines."""

from __future__ import annotations

import numpy as np
import orjson
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from streams.predictions import encode_predictions
from streams.records import Prediction

TIME = 1_704_067_200_000_000


def texts(values: list[str]) -> pa.Array:
    return pa.array(values, pa.large_string())


def test_predictions_are_encoded_as_their_record_says() -> None:
    lines = encode_predictions(
        texts(["a", "7"]),
        np.array([TIME, TIME]),
        np.array([0.5, 0.25]),
        np.array([[0.4, 0.6], [0.0, 1.0]]),
        np.array([True, False]),
        np.array([[0, -1], [-1, -1]], np.int16),
        ["amount"],
        np.array([3, 3]),
        np.array([[1.5, np.nan], [0.1, np.inf]]),
        np.array([8, 9]),
    )
    first = Prediction("a", TIME, 0.5, "review", ("amount",), 3, (1.5, None), 8, "", (0.4, 0.6))
    assert orjson.loads(lines[0] or b"") == orjson.loads(orjson.dumps(first, default=_plain))
    assert orjson.loads(lines[1] or b"")["features"] == [0.1, None]


def _plain(record: Prediction) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


@given(
    st.lists(
        st.tuples(st.text(max_size=4), st.floats(), st.lists(st.floats(), min_size=3, max_size=3)),
        max_size=4,
    ),
    st.lists(st.text(max_size=3), min_size=3, max_size=3),
)
def test_predictions_are_the_bytes_that_orjson_makes_of_each(
    rows: list[tuple[str, float, list[float]]], why: list[str]
) -> None:
    n = len(rows)
    review = np.arange(n) % 3 != 1
    lines = encode_predictions(
        texts([id_ for id_, _, _ in rows]),
        np.arange(n) - 1,
        np.array([score for _, score, _ in rows]),
        np.array([features[1:] for _, _, features in rows]).reshape(n, 2),
        review,
        np.array([[0, 2, -1] if place % 2 else [1, 0, 2] for place in range(n)], np.int16).reshape(
            n, 3
        ),
        why,
        np.full(n, 3),
        np.array([features for _, _, features in rows]).reshape(n, 3),
        np.arange(n) + 10**18,
        "f00d",
    )
    assert list(lines) == [
        orjson.dumps(
            {
                "id": id_,
                "time": place - 1,
                "score": score,
                "decision": "review" if review[place] else "approve",
                "reasons": [why[0], why[2]] if place % 2 else [why[1], why[0], why[2]],
                "model_version": 3,
                "features": features,
                "number": place + 10**18,
                "inputs": "f00d",
                "interval": features[1:],
            }
        )
        for place, (id_, score, features) in enumerate(rows)
    ]


def test_many_predictions_are_encoded_as_one_by_one() -> None:
    n = 1500
    features = np.random.default_rng(1).lognormal(size=(n, 2))
    ids = texts([f"t{place}" for place in range(n + 3)])[3:]
    number = np.arange(n)
    reasons = np.argsort(features, axis=1).astype(np.int16)

    def encoded(rows: slice) -> list[bytes]:
        lines = encode_predictions(
            ids[rows],
            number[rows] * 7,
            features[rows, 0],
            features[rows],
            features[rows, 0] > 1,
            reasons[rows],
            ["a", "b"],
            number[rows] // 700,
            features[rows],
            number[rows],
        )
        return lines.full()

    assert encoded(slice(None)) == [
        line for row in range(n) for line in encoded(slice(row, row + 1))
    ]
