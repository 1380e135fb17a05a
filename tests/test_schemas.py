"""The schemas in docs/schemas are those of the fraud pipeline, and say what the code does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from jobs.lessons import CAUSES
from operators.drift.alarm import Alarm, Kind
from operators.drift.response import Response, told_of
from streams.codec import Decoder
from streams.errors import DeadLetter, Reason
from streams.examples import encode_examples
from streams.predictions import encode_predictions
from streams.schema import Category, Event, Label, Number
from streams.schemas import KINDS, encode, schemas
from streams.sinks import encode_dead_letter

TRANSACTION = Event(
    "transaction",
    keys=("customer", "terminal"),
    numbers=(Number("amount", scale=2, maximum=100_000),),
    label=Label("fraud", maturity="7d"),
)
VISIT = Event(
    "visit",
    keys=("user",),
    numbers=(Number("price", scale=3, minimum=-5, maximum=5, required=False),),
    categories=(Category("country", required=False), Category("device")),
    label=Label("bought"),
)
FOLDER = Path(__file__).parent.parent / "docs" / "schemas"

values = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.5, -9.0, 1_522_540_831_000_000, "", "a", "x" * 300, [], {}])
    | st.just("2018-04-01T00:00:31Z")
)


def records(event: Event) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with the event's and the label's fields, right or wrong."""
    names = (*event.fields, event.label.name, "v")
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, values))


@pytest.mark.parametrize("name", schemas(TRANSACTION))
def test_the_files_are_those_of_the_code(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_bytes() == encode(schemas(TRANSACTION)[name])


@pytest.mark.parametrize("event", [TRANSACTION, VISIT])
def test_schemas_are_valid(event: Event) -> None:
    for schema in schemas(event).values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("event", [TRANSACTION, VISIT])
@given(draw=st.data())
def test_what_the_decoder_takes_the_schema_takes(event: Event, draw: st.DataObject) -> None:
    record = draw.draw(records(event))
    name = "label" if event.label.name in record else event.name
    batch, _ = Decoder(event).decode([orjson.dumps(record)], received=2**60)
    valid = Draft202012Validator(schemas(event)[name]).is_valid(record)
    assert valid or not len(batch)


def test_predictions_are_valid() -> None:
    lines = encode_predictions(
        pa.array(["a"], pa.large_string()),
        np.ones(1, int),
        np.ones(1),
        np.ones((1, 2)),
        np.ones(1, bool),
        np.zeros((1, 1), np.int16),
        ["x"],
        np.zeros(1, int),
        np.ones((1, 2)),
        np.zeros(1, int),
    )
    Draft202012Validator(schemas(TRANSACTION)["prediction"]).validate(orjson.loads(lines.full()[0]))


def test_examples_are_valid() -> None:
    number, time = np.array([3]), np.array([7])
    features = np.array([[1.5, np.nan]])
    causes = list(CAUSES.values())
    for cause in CAUSES:
        lines, numbers = encode_examples(
            number, time, [9], [1], [cause], np.array([0.25]), np.array([2]), features, causes
        )
        example = orjson.loads(lines[0] or b"")
        Draft202012Validator(schemas(TRANSACTION)["example"]).validate(example)
        assert (example["cause"], numbers[0]) == (CAUSES[cause], b"3")


@pytest.mark.parametrize("raw", [b"{", b"\xff"])
def test_dead_letters_are_valid(raw: bytes) -> None:
    letter = DeadLetter(Reason.NOT_JSON, "no JSON", "in", 0, 5, 7, raw)
    content = orjson.loads(encode_dead_letter(letter))
    Draft202012Validator(schemas(TRANSACTION)["dead_letter"]).validate(content)


def test_alarms_and_responses_are_valid() -> None:
    assert get_args(Kind) == KINDS
    for kind in get_args(Kind):
        alarm = Alarm(
            kind=kind, detector="ks", since_us=3, size=0.5, threshold=0.1, features=("amount",),
            evidence={"before": 1.5}, number=1, at_us=7, version=2,
        )  # fmt: skip
        Draft202012Validator(schemas(TRANSACTION)["alarm"]).validate(orjson.loads(alarm.encode()))
        assert told_of(alarm.encode()) == alarm
    response = Response(number=1, at_us=7, what="learns faster", model="champion", alarms=(1,))
    content = orjson.loads(response.encode())
    Draft202012Validator(schemas(TRANSACTION)["response"]).validate(content)
    assert told_of(response.encode()) == response
