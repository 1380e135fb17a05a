"""Predictions as lines."""

from __future__ import annotations

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import InputError
from streams.ident import idents
from streams.payloads import Payloads
from streams.predicted import decode_predictions
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


FLOATS = st.floats() | st.integers(-(10**6), 10**6).map(lambda cents: cents / 100)


@given(
    st.lists(
        st.tuples(
            st.text(max_size=9) | st.integers(0).map(str),
            FLOATS,
            st.lists(FLOATS, min_size=4, max_size=4),
        ),
        max_size=5,
    ),
    st.sampled_from(["", "f00d", 'f"d']),
    st.sampled_from(["", "f00d", 'f"d']),
)
def test_predictions_are_read_as_their_records_say(
    rows: list[tuple[str, float, list[float]]], told: str, asked: str
) -> None:
    n = len(rows)
    lines = encode_predictions(
        texts([id_ for id_, _, _ in rows]),
        np.arange(n) * 10**15 - 1,
        np.array([0.5 if np.isnan(score) or np.isinf(score) else score for _, score, _ in rows]),
        np.tile([[0.0, 0.1]], (n, 1)),
        np.arange(n) % 2 == 0,
        np.array([[0, place - 1] for place in range(n)], np.int16).reshape(n, 2) % 2,
        ["a]", 'b"'] if n % 2 else ["a", "b"],
        np.arange(n) + 2**62,
        np.array([features for _, _, features in rows]).reshape(n, 4),
        np.arange(n) - 1,
        told,
    )
    found = decode_predictions(lines, 4, "here", asked)
    records = [msgspec.json.decode(line or b"", type=Prediction) for line in lines]
    own = np.full(n, told == asked or not told or not asked)
    given_ = [each.features for each in records] if own.all() else [(None,) * 4] * n
    assert found.own.tolist() == own.tolist()
    assert found.ident.tolist() == idents(texts([each.id for each in records]))[:, 1].tolist()
    assert found.time.tolist() == [each.time for each in records]
    assert found.number.tolist() == [each.number for each in records]
    assert found.model_version.tolist() == [each.model_version for each in records]
    assert found.score.tobytes() == np.array([each.score for each in records]).tobytes()
    expected = np.array(given_, np.float64).reshape(n, 4)
    assert np.array_equal(found.features, expected, equal_nan=True)
    signs = np.signbit(found.features) == np.signbit(expected)
    assert (signs | np.isnan(expected)).all()


def test_what_is_no_prediction_is_said_to_be_none() -> None:
    with pytest.raises(InputError, match="here: wanted predictions, got a record that is none"):
        decode_predictions(Payloads.of([b'{"id":"a"}']), 2, "here")
    line = encode_predictions(
        texts(["a"]), np.ones(1, np.int64), np.ones(1), np.ones((1, 2)),
        np.ones(1, np.bool_), np.zeros((1, 0), np.int16), [], np.ones(1, np.int64),
        np.ones((1, 3)), np.ones(1, np.int64), "mine",
    )  # fmt: skip
    with pytest.raises(InputError, match="wanted predictions of 2 features, got others"):
        decode_predictions(line, 2, "here", "mine")
    assert np.isnan(decode_predictions(line, 2, "here", "other").features).all()
