"""JSON Schemas of what a pipeline reads and writes, for those who produce and consume its topics.

`python -m streams.schemas jobs.fraud:transaction docs/schemas` writes the files again.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson

from streams.columns import LONGEST_TEXT, optional_fields
from streams.errors import Reason
from streams.schema import Category, Event, Number

Schema = dict[str, Any]

KINDS = (
    "covariate", "missing", "schema", "score", "prior", "concept", "calibration", "performance",
    "label delay", "volume",
)  # fmt: skip
"""What an alarm may be of."""
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas(event: Event) -> dict[str, Schema]:
    """File stem → schema: the event, its label, prediction, example, alarm, response, dead letter.

    A schema says what can be said in JSON Schema; scale, duplicate keys and times too far ahead are
    the decoder's alone.
    """
    return {
        event.name: event_schema(event),
        "label": label_schema(event),
        "prediction": prediction_schema(),
        "example": example_schema(),
        "alarm": alarm_schema(),
        "response": response_schema(),
        "dead_letter": dead_letter_schema(),
    }


def write(event: Event, folder: Path) -> None:
    """Write every schema to its file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas(event).items():
        (folder / f"{name}.json").write_bytes(encode(schema))


def encode(schema: Schema) -> bytes:
    """The bytes of a schema's file."""
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def event_schema(event: Event) -> Schema:
    """What the decoder takes for an event."""
    properties: Schema = {event.id: _text("What the prediction and the label refer to.")}
    properties[event.time] = _time("When it happened.")
    properties |= {name: _text(f"Which {name}.") for name in event.keys}
    properties |= {number.name: _number(number) for number in event.numbers}
    properties |= {category.name: _category(category) for category in event.categories}
    properties["v"] = _version(event)
    optional = optional_fields(event)
    required = [name for name in event.fields if name not in optional]
    return _object(event.name, properties, required, closed=False)


def label_schema(event: Event) -> Schema:
    """What the decoder takes for a label."""
    name = event.label.name
    properties = {
        event.id: _text(f"The id of the {event.name}."),
        event.time: _time("When it became known."),
        name: {"enum": [True, False, 1, 0], "description": "The later of two labels holds."},
        "v": _version(event),
    }
    return _object("label", properties, [event.id, event.time, name], closed=False)


def prediction_schema() -> Schema:
    """What `streams.predictions.encode_predictions` writes."""
    properties: Schema = {
        "id": {"type": "string", "description": "The id of the event, as text."},
        "time": {"type": "integer", "description": "The event's time, microseconds UTC."},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "decision": {"enum": ["approve", "review"]},
        "reasons": {"type": "array", "items": {"type": "string"}},
        "model_version": {"type": "integer", "minimum": 0},
        "features": {"type": "array", "items": {"type": ["number", "null"]}},
        "number": {
            "type": "integer",
            "minimum": 0,
            "description": "Its place among the predictions; one sent again has the same.",
        },
        "inputs": {
            "type": "string",
            "description": "The same for all whose features have the same names and definitions.",
        },
        "interval": {
            "type": "array",
            "items": {"type": "number", "minimum": 0, "maximum": 1},
            "minItems": 2,
            "maxItems": 2,
            "description": "Between what shares of positives such scores have had lately, at 95 %.",
        },
    }
    return _object("prediction", properties, list(properties), closed=True)


def example_schema() -> Schema:
    """What `streams.examples.encode_examples` writes."""
    prediction: Schema = prediction_schema()["properties"]
    properties: Schema = {
        "number": prediction["number"] | {"description": "That of the prediction."},
        "time": prediction["time"],
        "known": {
            "type": "integer",
            "description": "When its label became known, or its maturity passed, microseconds UTC.",
        },
        "value": {"enum": [0, 1], "description": "1 is positive."},
        "cause": {"enum": ["label", "maturity", "late_label", "reversal"]},
        "score": prediction["score"],
        "model_version": prediction["model_version"],
        "features": prediction["features"],
    }
    return _object("example", properties, list(properties), closed=True)


def alarm_schema() -> Schema:
    """What `operators.drift.alarm.Alarm` is written as."""
    properties: Schema = {
        "kind": {"enum": [*KINDS], "description": "What has changed."},
        "detector": {"type": "string", "description": "The test or statistic that found it."},
        "since_us": {
            "type": "integer",
            "description": "Event time from which on things are different, microseconds UTC.",
        },
        "size": {"type": "number", "description": "In the detector's own measure."},
        "threshold": {"type": "number", "description": "From what size on it is told."},
        "features": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Those that changed, most changed first.",
        },
        "slice": {"type": "string", "description": "Of which slice; empty for all events."},
        "value": {"type": "string", "description": "Of which of its values."},
        "evidence": {
            "type": "object",
            "additionalProperties": {"type": "number"},
            "description": "Figures by name.",
        },
        "over": {"type": "boolean", "description": "Whether the change that was told has ended."},
        "number": {
            "type": "integer",
            "minimum": 1,
            "description": "Counted from 1. What is told again has the same number and bytes.",
        },
        "at_us": {
            "type": "integer",
            "description": "Event time at which it was told, microseconds UTC.",
        },
        "version": {"type": "integer", "description": "The newest that had scored by then."},
    }
    return _object("alarm", properties, list(properties), closed=True)


def response_schema() -> Schema:
    """What `operators.drift.response.Response` is written as."""
    properties: Schema = {
        "number": {
            "type": "integer",
            "minimum": 1,
            "description": "Counted from 1. What is told again has the same number and bytes.",
        },
        "at_us": {
            "type": "integer",
            "description": "Event time at which it was done, microseconds UTC.",
        },
        "what": {"type": "string", "description": "What was done, in words."},
        "model": {"type": "string", "description": "The model that it was done to."},
        "alarms": {
            "type": "array",
            "items": {"type": "integer"},
            "description": "The numbers of the alarms that caused it.",
        },
        "until_us": {"type": "integer", "description": "When it ends, if it does; else 0."},
        "over": {"type": "boolean", "description": "Whether it is the end of what was done."},
        "figures": {
            "type": "object",
            "additionalProperties": {"type": ["number", "null"]},
            "description": "Figures by name.",
        },
    }
    return _object("response", properties, list(properties), closed=True)


def dead_letter_schema() -> Schema:
    """What `streams.sinks.encode_dead_letter` writes."""
    properties: Schema = {
        "reason": {"enum": [reason.value for reason in Reason]},
        "detail": {"type": "string"},
        "topic": {"type": "string", "description": "The topic or path it came from."},
        "partition": {"type": "integer"},
        "offset": {"type": "integer"},
        "time": {"type": "integer", "description": "When it was taken, microseconds UTC; or 0."},
        "raw": {"type": "string", "description": "The record, if it is UTF-8."},
        "raw_base64": {"type": "string", "contentEncoding": "base64"},
    }
    schema = _object("dead_letter", properties, list(properties)[:-2], closed=True)
    return schema | {"oneOf": [{"required": ["raw"]}, {"required": ["raw_base64"]}]}


def _object(name: str, properties: Schema, required: list[str], *, closed: bool) -> Schema:
    schema = {"$schema": _DIALECT, "title": name, "type": "object", "properties": properties}
    return schema | {"required": required} | ({"additionalProperties": False} if closed else {})


def _text(description: str) -> Schema:
    return {
        "type": ["string", "integer"],
        "minLength": 1,
        "maxLength": LONGEST_TEXT,
        "minimum": 0,
        "description": f"{description} At most {LONGEST_TEXT} bytes; the number 7 is the text 7.",
    }


def _time(description: str) -> Schema:
    return {
        "type": ["string", "integer"],
        "description": f"{description} RFC 3339, without an offset in UTC, or microseconds UTC.",
    }


def _number(number: Number) -> Schema:
    return {
        "type": "number" if number.required else ["number", "null"],
        "minimum": number.minimum,
        "maximum": number.maximum,
        "description": f"At most {number.scale} decimals.",
    }


def _category(category: Category) -> Schema:
    schema = _text(f"Which {category.name}.")
    return schema if category.required else schema | {"type": [*schema["type"], "null"]}


def _version(event: Event) -> Schema:
    return {"enum": [event.version, None], "description": "The version of this schema."}


def main(event: str, folder: str) -> None:
    """Write the schemas of the event at `module:name` into a folder."""
    module, _, name = event.partition(":")
    write(getattr(import_module(module), name), Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
