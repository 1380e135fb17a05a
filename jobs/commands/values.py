"""What options take besides text and numbers: durations, moments, speeds, which column is which."""

from __future__ import annotations

import math
from typing import Any

import click

from streams.errors import ConfigError
from streams.schema import duration_us
from streams.simulation.traffic import moment_us


class Duration(click.ParamType):
    """`7d`, `12h`, `30m` or `45s`; stays text."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            duration_us(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class Moment(click.ParamType):
    """An ISO 8601 date or time, UTC unless it says otherwise; stays text."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            moment_us(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class Columns(click.ParamType):
    """`field=column,field=column`; becomes a dict."""

    name = "field=column,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, str]:
        pairs = [entry.partition("=") for entry in value.split(",") if entry.strip()]
        for field, equals, column in pairs:
            if not (field.strip() and equals and column.strip()):
                got = f"got {field + equals + column!r}"
                self.fail(f"wanted field=column pairs, as in id=TX_ID,time=WHEN; {got}", param, ctx)
        return {field.strip(): column.strip() for field, _, column in pairs}


class Speed(click.ParamType):
    """`10000x` or `10000`, a factor, or `max`, which becomes infinity."""

    name = "speed"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        text = str(value).removesuffix("x")
        try:
            speed = math.inf if text == "max" else float(text)
        except ValueError:
            speed = math.nan
        if not speed > 0:
            self.fail(f"wanted a factor such as 10000x, or max; got {value!r}", param, ctx)
        return speed


DURATION, MOMENT, COLUMNS, SPEED = Duration(), Moment(), Columns(), Speed()
